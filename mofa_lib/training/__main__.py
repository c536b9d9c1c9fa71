from mofa_lib.training import main

main()

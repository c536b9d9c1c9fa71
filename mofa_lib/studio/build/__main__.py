from mofa_lib.studio.build import main

main()

from mofa_lib.web.lab import main

main()

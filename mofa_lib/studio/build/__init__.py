"""Builds the heads that the library ships, and the face model learnt from them.

The command is `python -m mofa_lib.anny_faces`.
"""

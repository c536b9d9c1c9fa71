"""The browser lab: what it fetches, and a way back for its runs.

python -m mofa_lib.web FOLDER
"""

from mofa_lib.web.lab import export_lab, verify_run

__all__ = ["export_lab", "verify_run"]

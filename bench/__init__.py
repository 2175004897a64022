"""What Comptroller costs and what its decisions are worth, measured on this machine. See README.md beside this file."""

"""Model servers for the end-to-end scenarios: a simulated GPU engine, two hosted APIs that charge, and llama.cpp.

Start one with `PYTHONPATH=e2e python3 -m engines.gpu_engine --port 8000`; README.md says what each one models.
Nothing here imports the operator: to it these are servers like any other.
"""

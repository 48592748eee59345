"""Does TP-SDS win here? The paper's comparison, run and counted: python -m backend evaluate."""

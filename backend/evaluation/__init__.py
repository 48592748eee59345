"""Does TP-SDS win here? The paper's comparison, run and counted: dreamtime evaluate."""

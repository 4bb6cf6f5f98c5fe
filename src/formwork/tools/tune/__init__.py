"""Which settings suit a dataset and a machine: sizes, speeds and fidelities of many, measured on a sample."""

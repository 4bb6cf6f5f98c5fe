"""The stage that trains: LightningModule, data, callbacks, checkpoints."""

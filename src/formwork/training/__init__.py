"""The stage that trains: LightningModule, data, callbacks, checkpoints."""

from formwork.training.import_lightning import prepare

prepare()  # before any module here says `import pytorch_lightning`

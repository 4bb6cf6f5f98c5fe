"""The stage that trains: LightningModule, data, callbacks, checkpoints."""

from formwork.training.import_lightning import import_lightning

import_lightning()  # before any module here says `import pytorch_lightning`

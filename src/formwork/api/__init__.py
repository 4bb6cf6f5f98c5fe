"""What `import formwork` offers: loaders, betons and trained models for notebooks and other projects."""

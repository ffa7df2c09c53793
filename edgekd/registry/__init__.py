"""The registry: which releases there are, which one is in staging and in production, and how it came to be."""

#: Beginning of `--store` → what opens it: a function of what follows. Without any of these it is a folder.
STORES: dict[str, str] = {"mlflow": "edgekd.registry.mlflow_store:MlflowStore"}
FOLDER = "edgekd.registry.folder:FolderStore"

"""What the app holds while it runs: settings, models, the worker, shelves of adapters and studies."""

"""What the app holds while it runs: settings, models, the worker, adapters and studies."""

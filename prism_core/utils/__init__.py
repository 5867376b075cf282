"""Small tools that know nothing of language models: cache folders, plain YAML, memory, assets."""

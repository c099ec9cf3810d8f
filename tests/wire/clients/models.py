"""Runs beside botocore: print its own models of the two living services as one JSON object."""

import json

if __name__ == "__main__":
    from botocore.loaders import Loader

    names, loader = ("firehose", "sagemaker-runtime"), Loader()
    print(json.dumps({name: loader.load_service_model(name, "service-2") for name in names}))

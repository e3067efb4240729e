"""The Cloud port: declarative AWS kinds, one generic engine, boto3."""

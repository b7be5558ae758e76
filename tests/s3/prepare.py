"""A bucket and a user of a server that has just been started: prepare.py ENDPOINT DIRECTORY

Writes the user's keys to DIRECTORY/id and DIRECTORY/secret. moto checks signatures after so many calls as its variable
INITIAL_NO_AUTH_ACTION_COUNT says: those made here.
"""

import json
import pathlib
import sys

import boto3

endpoint, directory = sys.argv[1], pathlib.Path(sys.argv[2])
known = {"endpoint_url": endpoint, "region_name": "us-east-1", "aws_access_key_id": "first", "aws_secret_access_key": "first"}
iam, s3 = boto3.client("iam", **known), boto3.client("s3", **known)
s3.create_bucket(Bucket="llmo")
iam.create_user(UserName="llmo")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="llmo", PolicyName="s3", PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName="llmo")["AccessKey"]
(directory / "id").write_text(key["AccessKeyId"] + "\n")
(directory / "secret").write_text(key["SecretAccessKey"] + "\n")

//! moto runs in the virtual environment that the project pins.

use std::process::Command;

use vpce_testbed::python::{self, Moto};

const DESCRIBE: &str = "
import boto3, sys
ec2 = boto3.client('ec2', endpoint_url=sys.argv[1], region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')
print(len(ec2.describe_subnets()['Subnets']) > 0)
";

#[test]
fn boto3_talks_to_moto() {
    let moto = Moto::start().expect("started");
    let python = python::interpreter().expect("python");
    let output = Command::new(python)
        .env_clear()
        .args(["-c", DESCRIBE, moto.url()])
        .output()
        .expect("ran");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True", "{output:?}");
}

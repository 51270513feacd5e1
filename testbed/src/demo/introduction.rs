//! What a person needs who wants to try something in a testbed that is up: what the simulated AWS
//! holds, objects that work as they are, keys, and where the operator is.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::Stage;
use super::calls::aligned;
use crate::operator::NAMESPACE;
use crate::scenario::{NETWORKS, Network};
use crate::tools::Tool;

const TEAM: &str = "team-a";
const ENDPOINT: &str = "first";

impl Stage {
    /// All of it, as it is printed.
    pub(super) fn introduction(&self) -> Result<String> {
        let network = NETWORKS.last().context("the scenario has no network")?;
        let kubectl = Tool::Kubectl.path()?;
        let mut text = String::new();
        writeln!(text, "What the AWS simulator holds:\n\n{}", resources())?;
        writeln!(text, "In another terminal, point kubectl here:\n")?;
        writeln!(text, "export KUBECONFIG={}", self.plane.kubeconfig().display())?;
        writeln!(text, "alias kubectl={}\n", kubectl.display())?;
        writeln!(text, "and make an endpoint in AWS account {}:\n", network.account)?;
        writeln!(text, "kubectl apply --filename - <<'EOF'\n{}EOF", manifest(network))?;
        writeln!(
            text,
            "kubectl wait vpcendpoint/{ENDPOINT} --namespace {TEAM} --for condition=Ready --timeout 2m\n"
        )?;
        writeln!(
            text,
            "The AWS CLI shows what came of it, with the keys of an administrator of that AWS account:\n"
        )?;
        let (key_id, secret) = self.aws.add_administrator(network.account);
        writeln!(text, "export AWS_ACCESS_KEY_ID={key_id} AWS_SECRET_ACCESS_KEY={secret}")?;
        writeln!(
            text,
            "aws --endpoint-url {} --region {} ec2 describe-vpc-endpoints\n",
            self.aws.url(),
            network.region
        )?;
        writeln!(text, "For the other AWS accounts:\n")?;
        let mut others: Vec<&str> = NETWORKS.iter().map(|other| other.account).collect();
        others.dedup();
        for other in others.into_iter().filter(|other| *other != network.account) {
            let (key_id, secret) = self.aws.add_administrator(other);
            writeln!(
                text,
                "export AWS_ACCESS_KEY_ID={key_id} AWS_SECRET_ACCESS_KEY={secret}  # {other}"
            )?;
        }
        writeln!(text)?;
        text += &self.whereabouts()?;
        Ok(text)
    }

    /// Where the operator is, and what it says of itself.
    pub(super) fn whereabouts(&self) -> Result<String> {
        let log = self.operator.log();
        let mut text = String::new();
        writeln!(
            text,
            "The operator runs outside the cluster, as process {}. There is no kubelet, so `kubectl logs`",
            self.operator.pid()?
        )?;
        writeln!(
            text,
            "shows nothing, and a change of its Deployment does not reach it.\n"
        )?;
        writeln!(text, "Operator log:  {}", log.display())?;
        writeln!(
            text,
            "Metrics:       curl --insecure --header \"Authorization: Bearer $(kubectl create token prometheus --namespace {NAMESPACE})\" https://{}/metrics",
            self.operator.metrics_address()?
        )?;
        writeln!(
            text,
            "AWS simulator: {} (EC2, Elastic Load Balancing and STS)",
            self.aws.url()
        )?;
        Ok(text)
    }
}

fn resources() -> String {
    let heading = ["ACCOUNT", "EXTERNAL ID", "REGION", "VPC", "SUBNETS", "SERVICE"].map(str::to_owned);
    let mut rows = vec![heading];
    for network in NETWORKS {
        let lines = network.subnets.len().max(network.services.len());
        for at in 0..lines {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            let line = |list: &[&str]| list.get(at).map(ToString::to_string).unwrap_or_default();
            rows.push([
                first(network.account),
                first(network.external_id.unwrap_or_default()),
                first(network.region),
                first(network.vpc),
                line(network.subnets),
                line(network.services),
            ]);
        }
    }
    let mut table = aligned(&rows);
    table += "\nIn each AWS account there is a role vpce-operator, which lets the operator in.\n";
    table
}

/// A namespace, the AWSAccount that maps it, and a VPCEndpoint in it: as it is, it becomes Ready.
fn manifest(network: &Network) -> String {
    let Network {
        account,
        region,
        vpc,
        subnets,
        services,
        ..
    } = network;
    let external_id = network
        .external_id
        .map(|id| format!("  external_id: {id}\n"))
        .unwrap_or_default();
    let subnets: String = subnets.iter().map(|subnet| format!("    - {subnet}\n")).collect();
    let service = services.first().copied().unwrap_or_default();
    format!(
        "\
apiVersion: v1
kind: Namespace
metadata:
  name: {TEAM}
---
apiVersion: silvermullet.com/v1beta1
kind: AWSAccount
metadata:
  name: {TEAM}
spec:
  role_arn: arn:aws:iam::{account}:role/vpce-operator
{external_id}  namespaces:
    - {TEAM}
  default_region: {region}
---
apiVersion: silvermullet.com/v1beta1
kind: VPCEndpoint
metadata:
  name: {ENDPOINT}
  namespace: {TEAM}
spec:
  vpc_id: {vpc}
  subnet_ids:
{subnets}  vpc_endpoint_service_id: {service}
  security_group_type: generated
"
    )
}

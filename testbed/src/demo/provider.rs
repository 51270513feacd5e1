//! The story of a service that one team offers and another uses, both by an object of their own.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{ENDPOINT_SERVICE, Stage, written};
use crate::aws::LoadBalancerSpec;
use crate::scenario;

/// Where the provider is, and what each team calls it.
const PROVIDER: &str = "external";
const CONSUMER: &str = "green";
const NAME: &str = "reports";
const ACCOUNT: &str = "111111111111";
const REGION: &str = "us-east-1";

impl Stage {
    /// Does what the AWS Load Balancer Controller does for the Service: creates a Network Load
    /// Balancer, and writes its DNS name into the Service's status.
    pub(super) fn create_load_balancer(&self) -> Result<()> {
        let mut networks = scenario::NETWORKS.iter();
        let network = networks.find(|network| (network.account, network.region) == (ACCOUNT, REGION));
        let subnets = network.context("the provider has a network")?.subnets;
        let stack = format!("{PROVIDER}/{NAME}");
        let spec = LoadBalancerSpec {
            subnet_ids: subnets.iter().map(ToString::to_string).collect(),
            tags: [("service.k8s.aws/stack".to_owned(), stack)].into(),
            ..LoadBalancerSpec::default()
        };
        let name = format!("k8s-{PROVIDER}-{NAME}");
        let arn = self.aws.add_load_balancer(ACCOUNT, REGION, &name, spec)?;
        let mut all = self.aws.load_balancers(ACCOUNT, REGION).into_iter();
        let made = all.find(|found| found.arn == arn).context("it was just added")?;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": made.dns_name}]}}}).to_string();
        let patch = [
            "patch",
            "service",
            NAME,
            "--namespace",
            PROVIDER,
            "--subresource",
            "status",
        ];
        let patch = [&patch[..], &["--type", "merge", "--patch", &status]].concat();
        self.plane.kubectl(&patch)?.success()?;
        Ok(())
    }

    /// Tells the story in five lines.
    pub(super) fn tell_of_provider(&self) -> Result<()> {
        let object = |kind: &str, namespace: &str| self.plane.json(&["get", kind, NAME, "--namespace", namespace]);
        let (service, endpoint) = (object("vpcesvc", PROVIDER)?, object("vpce", CONSUMER)?);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (offered, used) = (&service["status"], &endpoint["status"]);
        println!("\nOne team offers a service, another connects to it, and nothing is accepted by hand:");
        println!(
            "  {PROVIDER}/{NAME} offers the load balancer of its Service from AWS account {}: {}",
            text(&offered["account"]["account_id"]),
            text(&offered["service_name"])
        );
        println!(
            "  {CONSUMER}/{NAME} names that object, and has {} in AWS account {}",
            text(&used["vpc_endpoint_id"]),
            text(&used["account"]["account_id"])
        );
        println!(
            "  the operator allowed the account, and accepted this endpoint alone: {} connected, {} waiting",
            offered["connections"]["available"], offered["connections"]["pending_acceptance"]
        );
        println!(
            "  clients of {CONSUMER} connect to {}, and {CONSUMER} wrote: {}",
            text(&used["service"]["host"]),
            written(ENDPOINT_SERVICE, CONSUMER, NAME)?
        );
        Ok(())
    }
}

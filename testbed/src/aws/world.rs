//! Everything the simulated AWS holds, and how one call passes through it: who, how often, what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use super::Config;
use super::bucket::Buckets;
use super::calls::Call;
use super::clock::{Clock, Seconds};
use super::ec2::elsewhere::{Access, Elsewhere};
use super::ec2::endpoint::Endpoint;
use super::ec2::endpoint_services::TxtRecords;
use super::ec2::lattice::Lattice;
use super::ec2::region::Region;
use super::ec2::replica::Replicated;
use super::ec2::services::{Service as EndpointService, ServiceSpec, Services};
use super::error::ApiError;
use super::fault::{Delivery, Faults, Trouble};
use super::identity::{Identities, KeyProblem, Principal};
use super::query::Form;
use super::xml::Xml;
use super::{ec2, elb, envelope, partition, sts};

/// Which service a request is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Elb,
    Sts,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Elb => "elasticloadbalancing",
            Self::Sts => "sts",
        }
    }
}

/// A request, read as far as all have it in common.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) service: Service,
    pub(crate) region: String,
    pub(crate) key_id: String,
    pub(crate) token: Option<String>,
    /// When the caller's clock says that it was signed.
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) action: String,
    pub(crate) version: String,
    pub(crate) params: BTreeMap<String, String>,
}

#[cfg(test)]
impl Request {
    /// A request of a client.
    pub(crate) fn example(action: &str, params: &[(&str, &str)]) -> Self {
        let sts = matches!(action, "AssumeRole" | "GetCallerIdentity");
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            id: String::new(),
            service: if sts { Service::Sts } else { Service::Ec2 },
            region: "us-west-2".to_owned(),
            key_id: String::new(),
            token: None,
            signed_at: None,
            action: action.to_owned(),
            version: String::new(),
            params: params.collect(),
        }
    }
}

/// What goes back to the caller.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// AWS's own time, as an HTTP date.
    pub(crate) date: String,
}

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) identities: Identities,
    pub(crate) faults: Faults,
    pub(crate) calls: Vec<Call>,
    next_seq: u64,
    regions: BTreeMap<(String, String), Replicated>,
    pub(crate) services: Arc<Services>,
    pub(crate) lattice: Arc<Lattice>,
    pub(crate) txt_records: TxtRecords,
    buckets: Buckets,
    /// Accounts and the regions that are not enabled in them.
    pub(crate) disabled: BTreeSet<(String, String)>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let services = Arc::new(Services::new(&config.regions));
        Self {
            clock: Clock::start(config.time_scale),
            identities: Identities::new(&config.partition, config.base_is_session),
            faults: Faults::default(),
            calls: Vec::new(),
            next_seq: 1,
            regions: BTreeMap::new(),
            services,
            lattice: Arc::new(Lattice::default()),
            txt_records: TxtRecords::new(),
            buckets: Buckets::default(),
            disabled: BTreeSet::new(),
            config,
        }
    }

    /// The account's region as it is now.
    pub(crate) fn region(&mut self, account: &str, region: &str) -> &mut Region {
        let now = self.clock.now();
        self.regions
            .entry((account.to_owned(), region.to_owned()))
            .or_insert_with(|| Replicated::new(Region::new(account, region)))
            .current(now, &self.config)
    }

    /// An endpoint as it is now.
    pub(crate) fn endpoint(&mut self, account: &str, region: &str, id: &str) -> anyhow::Result<&Endpoint> {
        let endpoint = self.region(account, region).endpoints.get(id);
        endpoint.with_context(|| format!("no endpoint {id}"))
    }

    /// Applies the state transitions of hosted endpoint services and publishes them to consumers.
    pub(crate) fn settle_services(&mut self) {
        let now = self.clock.now();
        let mut hosted: BTreeMap<String, BTreeMap<String, EndpointService>> = BTreeMap::new();
        let regions = self.regions.values_mut().filter(|region| region.hosts_services());
        for replicated in regions {
            let region = replicated.current(now, &self.config);
            let names = region.endpoint_services.values_mut();
            for name in names.filter_map(|service| service.private_name.as_mut()) {
                name.settle(now, &self.txt_records);
            }
            hosted.entry(region.name.clone()).or_default().extend(region.offers());
        }
        if !hosted.is_empty() || self.services.has_hosted() {
            Arc::make_mut(&mut self.services).set_hosted(hosted);
        }
    }

    /// Applies a change to every endpoint.
    pub(crate) fn each_endpoint(&mut self, mut change: impl FnMut(&mut Endpoint)) {
        let now = self.clock.now();
        for replicated in self.regions.values_mut() {
            let region = replicated.current(now, &self.config);
            region.endpoints.values_mut().for_each(&mut change);
        }
    }

    pub(crate) fn add_service(&mut self, region: &str, name: &str, spec: ServiceSpec) {
        Arc::make_mut(&mut self.services).add(region, name, spec);
    }

    /// The account whose key this is, whatever the key is still good for.
    pub(crate) fn account_of(&self, request: &Request) -> String {
        self.whose(request)
            .map_or_else(String::new, |principal| principal.account.clone())
    }

    /// Who calls, even if nothing will come of it.
    fn whose(&self, request: &Request) -> Option<&Principal> {
        let token = request.token.as_deref();
        self.identities.authenticate(&request.key_id, token, 0.0).ok()
    }

    /// Carries the request out, unless a fault prevents it, and logs it.
    pub(crate) fn carry_out(&mut self, request: Request, mut trouble: Trouble) -> Answer {
        let now = self.clock.now();
        let known = self.whose(&request).cloned();
        if trouble.expire {
            self.identities.expire_session(&request.key_id, now);
        }
        let mut produced = Vec::new();
        let result = match trouble.refuse.take() {
            Some(error) => Err(error),
            None => self.act(&request, now, &trouble, &mut produced),
        };
        let answer = envelope(&request, &result, self.clock.http_date());
        self.calls.push(Call {
            seq: self.next_seq,
            time: now,
            account: known.as_ref().map_or_else(String::new, |p| p.account.clone()),
            region: request.region,
            service: request.service.name().to_owned(),
            action: request.action,
            role: known.as_ref().map_or_else(String::new, |p| p.role.clone()),
            session_name: known.as_ref().map_or_else(String::new, |p| p.session_name().to_owned()),
            source_identity: known.and_then(|p| p.source_identity),
            params: request.params,
            result: result.map_or_else(|error| error.code, |_| "ok".to_owned()),
            request_id: request.id,
            produced,
            answered: trouble.delivery == Delivery::Whole,
            fault: trouble.fault,
        });
        self.next_seq += 1;
        answer
    }

    fn act(
        &mut self,
        request: &Request,
        now: Seconds,
        trouble: &Trouble,
        produced: &mut Vec<String>,
    ) -> Result<Xml, ApiError> {
        self.check_date(request)?;
        let caller = self
            .authenticate(request, now)
            .map_err(|problem| refused_key(request.service, problem))?
            .clone();
        match request.service {
            Service::Sts => {
                let mut form = Form::new(request.params.clone());
                check_version(request, sts::VERSION)?;
                let mut context = sts::Context {
                    identities: &mut self.identities,
                    clock: &self.clock,
                    now,
                    caller: &caller,
                    region: &request.region,
                    disabled: &self.disabled,
                };
                sts::handle(&request.action, &mut form, &mut context)
            }
            Service::Ec2 | Service::Elb => {
                check_action(request)?;
                self.buckets.take(request, &caller, now, &self.config)?;
                self.act_in_region(request, &caller, now, trouble, produced)
            }
        }
    }

    /// Carries out what is about one account's resources in one region.
    fn act_in_region(
        &mut self,
        request: &Request,
        caller: &Principal,
        now: Seconds,
        trouble: &Trouble,
        produced: &mut Vec<String>,
    ) -> Result<Xml, ApiError> {
        self.region(&caller.account, &request.region);
        self.settle_services();
        // The call works in one region, and reaches into the others.
        let place = (caller.account.clone(), request.region.clone());
        let Some(mut replicated) = self.regions.remove(&place) else {
            return Err(refused_key(request.service, KeyProblem::Unknown));
        };
        let result = self.act_on(&mut replicated, request, caller, now, trouble, produced);
        self.regions.insert(place, replicated);
        result
    }

    fn act_on(
        &mut self,
        replicated: &mut Replicated,
        request: &Request,
        caller: &Principal,
        now: Seconds,
        trouble: &Trouble,
        produced: &mut Vec<String>,
    ) -> Result<Xml, ApiError> {
        let mut unsuccessful = trouble.unsuccessful.clone();
        let mut nothing = Region::new(&caller.account, &request.region);
        let mut form = Form::new(request.params.clone());
        let describes = request.action.starts_with("Describe");
        let access = match (describes, trouble) {
            (true, Trouble { empty: true, .. }) => Access::Nothing,
            (true, _) => Access::Seen,
            (
                false,
                Trouble {
                    without_effect: true, ..
                },
            ) => Access::WithoutEffect,
            (false, _) => Access::Current,
        };
        let region = if !describes {
            replicated.meet_strangers(request, now, &self.config, &mut unsuccessful)?;
            replicated.remember(now, &self.config);
            let region = replicated.current(now, &self.config);
            if trouble.without_effect {
                nothing = region.clone();
                &mut nothing
            } else {
                region
            }
        } else if trouble.empty {
            &mut nothing
        } else {
            replicated.seen(now, &self.config)
        };
        if request.service == Service::Elb {
            let mut context = elb::Context {
                region,
                identities: &self.identities,
                config: &self.config,
                clock: &self.clock,
                caller,
            };
            return elb::handle(&request.action, &mut form, &mut context);
        }
        let mut context = ec2::Context {
            region,
            elsewhere: Elsewhere {
                regions: &mut self.regions,
                access,
            },
            services: &self.services,
            lattice: &self.lattice,
            disabled: &self.disabled,
            identities: &self.identities,
            config: &self.config,
            clock: &self.clock,
            now,
            caller,
            produced: Vec::new(),
            unsuccessful,
        };
        let result = ec2::handle(&request.action, &mut form, &mut context);
        produced.append(&mut context.produced);
        result
    }

    /// In a region that is not there (or not enabled), or of another partition, no key is good.
    fn authenticate(&self, request: &Request, now: Seconds) -> Result<&Principal, KeyProblem> {
        if !self.services.has_region(&request.region) {
            return Err(KeyProblem::Unknown);
        }
        let token = request.token.as_deref();
        let principal = self.identities.authenticate(&request.key_id, token, now)?;
        let enabled = |region: &str| !self.disabled.contains(&(principal.account.clone(), region.to_owned()));
        if partition::of_arn(&principal.arn) == partition::of_region(&request.region) && enabled(&request.region) {
            Ok(principal)
        } else {
            Err(KeyProblem::Unknown)
        }
    }

    /// AWS takes a signature for a quarter of an hour, by its own clock. EC2's code for one that is
    /// too old or too new is in its list of error codes ("RequestExpired"); the others say that
    /// the signature does not match.
    fn check_date(&self, request: &Request) -> Result<(), ApiError> {
        const LEEWAY: i64 = 15 * 60;
        let Some(signed_at) = request.signed_at else {
            return Ok(());
        };
        let wall = self.clock.wall();
        let late = wall.as_second() - signed_at.as_second();
        if late.abs() <= LEEWAY {
            return Ok(());
        }
        Err(match (request.service, late > 0) {
            (Service::Ec2, _) => refused_key(Service::Ec2, KeyProblem::Expired),
            (Service::Elb | Service::Sts, true) => {
                let message = format!("Signature expired: {signed_at} is more than 15 min. before {wall}");
                ApiError::new("SignatureDoesNotMatch", message).with_status(403)
            }
            (Service::Elb | Service::Sts, false) => {
                let message = format!("Signature not yet current: {signed_at} is more than 15 min. after {wall}");
                ApiError::new("SignatureDoesNotMatch", message).with_status(403)
            }
        })
    }
}

/// Whether the service has the action, in the version that the request names.
fn check_action(request: &Request) -> Result<(), ApiError> {
    let action = request.action.as_str();
    let (version, known, unknown) = match request.service {
        Service::Elb => (
            elb::VERSION,
            elb::ACTIONS.contains(&action),
            elb::unknown_action as fn(&str) -> ApiError,
        ),
        _ => (
            ec2::VERSION,
            ec2::ACTIONS.contains(&action),
            ec2::unknown_action as fn(&str) -> ApiError,
        ),
    };
    check_version(request, version)?;
    if known { Ok(()) } else { Err(unknown(action)) }
}

fn check_version(request: &Request, version: &str) -> Result<(), ApiError> {
    if request.version == version {
        return Ok(());
    }
    Err(ApiError::new(
        "NoSuchVersion",
        format!(
            "The requested version ({}) of service {} does not exist",
            request.version,
            request.service.name()
        ),
    ))
}

fn refused_key(service: Service, problem: KeyProblem) -> ApiError {
    match (service, problem) {
        (Service::Ec2, KeyProblem::Unknown) => ApiError::new(
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
        )
        .with_status(401),
        (Service::Ec2, KeyProblem::Expired) => ApiError::new("RequestExpired", "Request has expired."),
        (Service::Elb | Service::Sts, KeyProblem::Unknown) => ApiError::new(
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        )
        .with_status(403),
        (Service::Elb | Service::Sts, KeyProblem::Expired) => {
            ApiError::new("ExpiredToken", "The security token included in the request is expired").with_status(403)
        }
    }
}

/// The service's own envelope around a result.
fn envelope(request: &Request, result: &Result<Xml, ApiError>, date: String) -> Answer {
    let (action, id) = (&request.action, &request.id);
    let body = match (request.service, result) {
        (Service::Ec2, Ok(xml)) => ec2::result_document(action, xml, id),
        (Service::Ec2, Err(error)) => ec2::error_document(error, id),
        (Service::Elb, Ok(xml)) => envelope::result_document(elb::NAMESPACE, action, xml, id),
        (Service::Elb, Err(error)) => envelope::error_document(elb::NAMESPACE, error, id),
        (Service::Sts, Ok(xml)) => envelope::result_document(sts::NAMESPACE, action, xml, id),
        (Service::Sts, Err(error)) => envelope::error_document(sts::NAMESPACE, error, id),
    };
    Answer {
        status: result.as_ref().map_or_else(|error| error.status, |_| 200),
        body,
        date,
    }
}

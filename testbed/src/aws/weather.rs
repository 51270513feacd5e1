//! Bad weather: calls that go wrong at random, by a seed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use super::error::ApiError;
use super::fault::{Delivery, Trouble, batch};
use super::filter::glob;
use super::world::{Request, Service};

/// How often calls go wrong, and in which way. All chances are between 0 (the default) and 1.
///
/// What happens to a call depends on nothing but the seed, its account, its action and how many
/// calls of this action the account has made since the weather set in: the same calls meet the same
/// weather, whatever others do meanwhile. Of the ways that exclude each other (refused, lost, cut,
/// expired, empty) a call meets one at most, so their chances add up.
///
/// ```
/// # use vpce_testbed::aws::Weather;
/// let storm = Weather {
///     seed: 7,
///     actions: vec!["*VpcEndpoint*".to_owned()],
///     refuse: 0.2,
///     lose_answer: 0.1,
///     ..Weather::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weather {
    /// Another seed is another order of the same odds.
    pub seed: u64,
    /// The actions that it strikes, with `*` for any characters: `CreateVpcEndpoint`, `Describe*`,
    /// `AssumeRole`. None named: all of EC2's. Those of other services have to be named.
    pub actions: Vec<String>,
    /// Only this account's calls, which for AssumeRole is the caller's; `None`: all calls.
    pub account: Option<String>,
    /// Refused, with nothing done and no token spent: throttled, 500 or 503, each as often.
    pub refuse: f64,
    /// Carried out, and the connection closed before a byte of the answer.
    pub lose_answer: f64,
    /// Carried out, and the connection closed in the middle of the answer's body.
    pub cut_answer: f64,
    /// The caller's session ends with this call, which is the first to be refused for it.
    pub expire_credentials: f64,
    /// A describe finds nothing, as if the account's region were empty.
    pub empty_describe: f64,
    /// Of each id in a batch, such as a DeleteVpcEndpoints: it stays, and comes back in
    /// `Unsuccessful`.
    pub unsuccessful: f64,
    /// Carried out late, by up to `slow_by`.
    pub slow: f64,
    /// The longest delay, in our time.
    pub slow_by: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            seed: 0,
            actions: Vec::new(),
            account: None,
            refuse: 0.0,
            lose_answer: 0.0,
            cut_answer: 0.0,
            expire_credentials: 0.0,
            empty_describe: 0.0,
            unsuccessful: 0.0,
            slow: 0.0,
            slow_by: Duration::from_secs(1),
        }
    }
}

impl Weather {
    fn strikes(&self, request: &Request, account: &str) -> bool {
        let named = || self.actions.iter().any(|pattern| glob(pattern, &request.action));
        let every = self.actions.is_empty() && request.service == Service::Ec2;
        (every || named()) && self.account.as_deref().is_none_or(|only| only == account)
    }

    /// What the `nth` call of this account and action meets, and by how much it is late.
    fn meet(&self, request: &Request, account: &str, nth: u64) -> (Trouble, Option<Duration>) {
        let mut random = random(&(self.seed, account, &request.action, nth));
        let describe = request.action.starts_with("Describe");
        let mut trouble = Trouble::default();
        let mut left = random.f64();
        let mut meets = |chance: f64| {
            let met = (0.0..chance).contains(&left);
            left -= chance;
            met
        };
        if meets(self.refuse) {
            trouble.refuse = Some(refusal(request.service, random.usize(..3)));
            trouble.fault = Some("refused");
        } else if meets(self.lose_answer) {
            trouble.delivery = Delivery::Lost;
            trouble.fault = Some("lost");
        } else if meets(self.cut_answer) {
            trouble.delivery = Delivery::Cut;
            trouble.fault = Some("cut");
        } else if meets(self.expire_credentials) {
            trouble.expire = true;
            trouble.fault = Some("expired");
        } else if describe && meets(self.empty_describe) {
            trouble.empty = true;
            trouble.fault = Some("empty");
        }
        for id in batch(request) {
            if random.f64() < self.unsuccessful {
                trouble.fault.get_or_insert("unsuccessful");
                let error = ApiError::new("InternalError", "An internal error has occurred");
                trouble.unsuccessful.insert(id.to_owned(), error);
            }
        }
        let late = random.f64() < self.slow;
        if late {
            trouble.fault.get_or_insert("slow");
        }
        (trouble, late.then(|| self.slow_by.mul_f64(random.f64())))
    }
}

/// A generator whose numbers follow from `key` alone.
pub(crate) fn random(key: &impl std::hash::Hash) -> fastrand::Rng {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish())
}

/// The service's own words for throttling and for errors of its own.
fn refusal(service: Service, which: usize) -> ApiError {
    let throttled = "Request limit exceeded.";
    let failed = "An internal error has occurred";
    let unavailable = "The server cannot process your request at the moment";
    let (status, code, message) = match (service, which) {
        (Service::Ec2, 0) => (503, "RequestLimitExceeded", throttled),
        (Service::Ec2, 1) => (500, "InternalError", failed),
        (Service::Ec2, _) => (503, "Unavailable", unavailable),
        (Service::Elb, 0) => (400, "ThrottlingException", "Rate exceeded"),
        (Service::Sts, 0) => (400, "Throttling", "Rate exceeded"),
        (Service::Elb | Service::Sts, 1) => (500, "InternalFailure", failed),
        (Service::Elb | Service::Sts, _) => (503, "ServiceUnavailable", unavailable),
    };
    ApiError::new(code, message).with_status(status)
}

/// The weather that there is, and how many calls it has seen.
#[derive(Debug, Default)]
pub(crate) struct Sky {
    weathers: Vec<Weather>,
    /// By account and action.
    seen: BTreeMap<(String, String), u64>,
}

impl Sky {
    pub(crate) fn new(weathers: impl IntoIterator<Item = Weather>) -> Self {
        Self {
            weathers: weathers.into_iter().collect(),
            seen: BTreeMap::new(),
        }
    }

    /// What this call meets: the first weather that strikes its action decides.
    pub(crate) fn strike(&mut self, request: &Request, account: &str) -> (Trouble, Option<Duration>) {
        let Some(weather) = self.weathers.iter().find(|weather| weather.strikes(request, account)) else {
            return (Trouble::default(), None);
        };
        let key = (account.to_owned(), request.action.clone());
        let nth = self.seen.entry(key).or_default();
        *nth += 1;
        weather.meet(request, account, *nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64, action: &str, account: &str) -> Vec<Option<&'static str>> {
        let mut sky = Sky::new([Weather {
            seed,
            refuse: 0.2,
            lose_answer: 0.1,
            cut_answer: 0.1,
            empty_describe: 0.3,
            ..Weather::default()
        }]);
        let request = Request::example(action, &[]);
        (0..1000).map(|_| sky.strike(&request, account).0.fault).collect()
    }

    fn share(fates: &[Option<&str>], kind: &str) -> usize {
        fates.iter().filter(|fate| **fate == Some(kind)).count()
    }

    #[test]
    fn the_seed_decides_all() {
        let first = fates(1, "CreateTags", "1");
        assert_eq!(first, fates(1, "CreateTags", "1"));
        assert_ne!(first, fates(2, "CreateTags", "1"));
        assert_ne!(first, fates(1, "DeleteTags", "1"));
        assert_ne!(first, fates(1, "CreateTags", "2"));
    }

    #[test]
    fn faults_occur_at_their_rates() {
        let mutating = fates(3, "CreateTags", "1");
        assert!((150..250).contains(&share(&mutating, "refused")));
        assert!((60..140).contains(&share(&mutating, "lost")));
        assert!((60..140).contains(&share(&mutating, "cut")));
        assert_eq!(share(&mutating, "empty"), 0);
        assert!((240..360).contains(&share(&fates(3, "DescribeVpcs", "1"), "empty")));
    }

    #[test]
    fn the_first_weather_that_fits_decides_and_sts_has_to_be_named() {
        let only = |actions: &[&str], refuse: f64| Weather {
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            refuse,
            ..Weather::default()
        };
        let mut sky = Sky::new([only(&["Describe*"], 0.0), only(&[], 1.0)]);
        let mut struck = |action: &str| sky.strike(&Request::example(action, &[]), "1").0.fault;
        assert_eq!(struck("DescribeVpcs"), None);
        assert_eq!(struck("CreateTags"), Some("refused"));
        assert_eq!(struck("AssumeRole"), None);
        let mut sky = Sky::new([only(&["AssumeRole"], 1.0)]);
        assert_eq!(
            sky.strike(&Request::example("AssumeRole", &[]), "1").0.fault,
            Some("refused")
        );
    }

    #[test]
    fn each_id_of_a_batch_has_a_chance_of_its_own() {
        let mut sky = Sky::new([Weather {
            unsuccessful: 0.5,
            ..Weather::default()
        }]);
        let ids: Vec<(String, String)> = (1..=20)
            .map(|n| (format!("VpcEndpointId.{n}"), format!("vpce-{n}")))
            .collect();
        let ids: Vec<(&str, &str)> = ids.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        let (trouble, _) = sky.strike(&Request::example("DeleteVpcEndpoints", &ids), "1");
        assert!((4..17).contains(&trouble.unsuccessful.len()));
    }
}

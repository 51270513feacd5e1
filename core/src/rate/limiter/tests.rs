//! Who gets a token and when: cases, and laws for random events.

use proptest::prelude::*;

use super::*;
use crate::rate::queue::GRACE;

const ENDPOINTS: Limit = Limit {
    burst: 4.0,
    refill_per_second: 0.3,
};

/// Fast and even: a token every tenth of a second, but for the 0.99.
const QUICK: Limit = Limit {
    burst: 4.0,
    refill_per_second: 10.0,
};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Asks for all of `waiting` whenever each is due, until all got a token. Which went, and when.
fn run(limiter: &mut FairRateLimiter, waiting: &[(&str, &str)], from: Duration) -> Vec<(String, Duration)> {
    let mut due: Vec<(Duration, usize)> = (0..waiting.len()).map(|at| (from, at)).collect();
    let mut went = Vec::new();
    while !due.is_empty() {
        due.sort();
        let (now, at) = due.remove(0);
        let (id, namespace) = waiting[at];
        match limiter.acquire(id, namespace, now) {
            Decision::Go => went.push((id.to_owned(), now)),
            Decision::Wait(wait) => due.push((now + wait, at)),
        }
    }
    went
}

#[test]
fn a_new_limiter_has_one_token_and_not_the_burst() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, seconds(100.0));
    assert_eq!(limiter.acquire("a", "team", seconds(100.0)), Decision::Go);
    let Decision::Wait(wait) = limiter.acquire("b", "team", seconds(100.0)) else {
        panic!("there was a second token");
    };
    assert!((wait.as_secs_f64() - 1.0 / 0.297).abs() < 0.01, "{wait:?}");
}

#[test]
fn a_wait_that_was_kept_ends_in_go() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    let ids: Vec<String> = (0..100).map(|n| format!("e{n}")).collect();
    let waiting: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "team")).collect();
    let went = run(&mut limiter, &waiting, Duration::ZERO);
    let order: Vec<&str> = went.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(order, ids);
    let (_, last) = &went[99];
    // 99 tokens at 0.297 a second: the documented rate would take 330 s.
    assert!(*last < seconds(336.0), "{last:?}");
    assert!(limiter.is_empty());
}

#[test]
fn asking_again_finds_the_same_reservation() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    assert_eq!(limiter.acquire("first", "team", Duration::ZERO), Decision::Go);
    for _ in 0..10 {
        assert!(matches!(
            limiter.acquire("a", "team", Duration::ZERO),
            Decision::Wait(_)
        ));
        assert!(matches!(
            limiter.acquire("b", "team", Duration::ZERO),
            Decision::Wait(_)
        ));
    }
    assert_eq!(limiter.len(), 2);
    let due = seconds(3.4);
    assert!(matches!(limiter.acquire("b", "team", due), Decision::Wait(_)));
    assert_eq!(limiter.acquire("a", "team", due), Decision::Go);
    assert_eq!(limiter.len(), 1);
}

#[test]
fn a_thousand_asks_of_one_namespace_delay_another_by_one() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    let ids: Vec<String> = (0..1000).map(|n| format!("many{n}")).collect();
    let mut waiting: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "loud")).collect();
    waiting.push(("few0", "quiet"));
    waiting.push(("few1", "quiet"));
    let went = run(&mut limiter, &waiting, Duration::ZERO);
    let order: Vec<&str> = went.iter().map(|(id, _)| id.as_str()).collect();
    // The first token was there before the quiet one came.
    assert_eq!(order[..5], ["many0", "many1", "few0", "many2", "few1"]);
}

#[test]
fn a_namespace_that_comes_and_goes_gets_no_second_turn_in_a_round() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    assert_eq!(limiter.acquire("warm-up", "x", Duration::ZERO), Decision::Go);
    for (id, namespace) in [("a0", "a"), ("b0", "b"), ("b1", "b"), ("c0", "c"), ("c1", "c")] {
        assert!(matches!(
            limiter.acquire(id, namespace, Duration::ZERO),
            Decision::Wait(_)
        ));
    }
    assert_eq!(limiter.acquire("a0", "a", seconds(0.11)), Decision::Go);
    assert_eq!(limiter.acquire("b0", "b", seconds(0.22)), Decision::Go);
    // Back again, while c has had no token: behind all who were there.
    assert!(matches!(limiter.acquire("a1", "a", seconds(0.22)), Decision::Wait(_)));
    let waiting = [("a1", "a"), ("b1", "b"), ("c0", "c"), ("c1", "c")];
    let order: Vec<String> = run(&mut limiter, &waiting, seconds(0.23))
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(order, ["c0", "b1", "c1", "a1"]);
}

#[test]
fn a_namespace_cannot_save_up_turns_by_being_late() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    let ids: Vec<String> = (0..30).map(|n| format!("b{n}")).collect();
    assert_eq!(limiter.acquire("warm-up", "x", Duration::ZERO), Decision::Go);
    assert!(matches!(
        limiter.acquire("late", "a", Duration::ZERO),
        Decision::Wait(_)
    ));
    for id in &ids {
        assert!(matches!(limiter.acquire(id, "b", Duration::ZERO), Decision::Wait(_)));
    }
    // There is always a token for the late one, and one more for the next of b.
    let mut now = seconds(0.21);
    for id in &ids[..20] {
        assert_eq!(limiter.acquire(id, "b", now), Decision::Go, "{id}");
        now += seconds(0.102);
    }
    let waiting = [
        ("a1", "a"),
        ("a2", "a"),
        ("a3", "a"),
        ("b20", "b"),
        ("b21", "b"),
        ("b22", "b"),
        ("late", "a"),
    ];
    let order: Vec<String> = run(&mut limiter, &waiting, now).into_iter().map(|(id, _)| id).collect();
    let namespaces: String = order.iter().filter_map(|id| id.chars().next()).collect();
    assert!(
        !namespaces.contains("aaa") && !namespaces.contains("bbb"),
        "no namespace is two ahead: {order:?}"
    );
}

#[test]
fn a_reservation_whose_owner_is_late_lapses_after_a_while() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    assert_eq!(limiter.acquire("warm-up", "x", Duration::ZERO), Decision::Go);
    let Decision::Wait(wait) = limiter.acquire("dead", "a", Duration::ZERO) else {
        panic!("no token was left");
    };
    assert!(matches!(
        limiter.acquire("alive", "b", Duration::ZERO),
        Decision::Wait(_)
    ));
    // One token: it is the late one's. Two: there is one for each.
    assert!(matches!(limiter.acquire("alive", "b", wait), Decision::Wait(_)));
    assert_eq!(limiter.acquire("alive", "b", wait * 2), Decision::Go);
    assert_eq!(limiter.len(), 1);
    assert_eq!(limiter.acquire("other", "b", wait * 4), Decision::Go);
    // It comes in time after all.
    let mut late = limiter.clone();
    assert_eq!(late.acquire("dead", "a", wait + GRACE), Decision::Go);
    // It never comes.
    assert_eq!(limiter.acquire("more", "b", wait * 2 + GRACE), Decision::Go);
    assert!(limiter.is_empty());
}

#[test]
fn cancelling_moves_those_behind_forward() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    assert_eq!(limiter.acquire("warm-up", "a", Duration::ZERO), Decision::Go);
    assert!(matches!(limiter.acquire("a", "a", Duration::ZERO), Decision::Wait(_)));
    assert!(matches!(limiter.acquire("b", "a", Duration::ZERO), Decision::Wait(_)));
    limiter.cancel("a");
    limiter.cancel("another");
    assert_eq!(limiter.len(), 1);
    assert_eq!(limiter.acquire("b", "a", seconds(3.4)), Decision::Go);
}

/// Asks for all of these at once; all have to wait.
fn queue(limiter: &mut FairRateLimiter, namespace: &str, ids: &[String], now: Duration) {
    for id in ids {
        assert!(matches!(limiter.acquire(id, namespace, now), Decision::Wait(_)));
    }
}

#[test]
fn when_those_ahead_leave_the_first_that_is_left_is_requeued_and_then_the_next() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    assert_eq!(limiter.acquire("warm-up", "a", Duration::ZERO), Decision::Go);
    let ids: Vec<String> = (0..300).map(|n| format!("e{n}")).collect();
    queue(&mut limiter, "a", &ids, Duration::ZERO);
    assert_eq!(
        limiter.early(Duration::ZERO, |_| true),
        None,
        "the first knows its time"
    );
    for id in &ids[..298] {
        limiter.cancel(id);
    }
    let now = seconds(1.0);
    assert_eq!(limiter.early(now, |_| false), None, "none to requeue");
    assert_eq!(limiter.early(now, |_| true).as_deref(), Some("e298"));
    assert_eq!(limiter.early(now, |_| true), None, "once");
    let Decision::Wait(wait) = limiter.acquire("e298", "a", now) else {
        panic!("the token is not there yet");
    };
    assert!(wait < seconds(2.5), "{wait:?}");
    assert_eq!(limiter.early(now, |_| true), None);
    assert_eq!(limiter.acquire("e298", "a", now + wait), Decision::Go);
    assert_eq!(limiter.early(now + wait, |_| true).as_deref(), Some("e299"));
}

#[test]
fn when_the_first_does_not_come_the_next_is_requeued_as_its_reservation_lapses() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    assert_eq!(limiter.acquire("warm-up", "x", Duration::ZERO), Decision::Go);
    queue(&mut limiter, "a", &["dead".to_owned()], Duration::ZERO);
    limiter.throttled(Duration::ZERO);
    let far: Vec<String> = (0..1000).map(|n| format!("b{n}")).collect();
    queue(&mut limiter, "b", &far, Duration::ZERO);
    for id in &far[..900] {
        limiter.cancel(id);
    }
    let lapses = limiter.lapses_at().expect("one waits");
    assert!(lapses > GRACE && lapses < GRACE + seconds(1.0), "{lapses:?}");
    assert_eq!(limiter.early(lapses, |_| true), None);
    assert_eq!(limiter.early(lapses + ROUNDING, |_| true).as_deref(), Some("b900"));
    assert_eq!(limiter.acquire("b900", "b", lapses + ROUNDING), Decision::Go);
}

#[test]
fn none_is_told_to_wait_longer_than_a_minute() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    let waits = (0..1000).map(|n| limiter.acquire(&n.to_string(), "a", Duration::ZERO));
    let longest = waits
        .filter_map(|decision| match decision {
            Decision::Go => None,
            Decision::Wait(wait) => Some(wait),
        })
        .max();
    assert_eq!(longest, Some(LONGEST_WAIT));
}

/// An AWS bucket of which others take half, and a queue that always has someone waiting: how
/// many calls are refused in each ten minutes.
fn refused_beside_others(tens_of_minutes: usize) -> Vec<usize> {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    let left = ENDPOINTS.refill_per_second / 2.0;
    let (mut tokens, mut filled) = (ENDPOINTS.burst, Duration::ZERO);
    let mut refused = vec![0; tens_of_minutes];
    let mut now = Duration::ZERO;
    while let Some(count) = refused.get_mut(now.as_secs() as usize / 600) {
        match limiter.acquire("one of many", "team", now) {
            Decision::Wait(wait) => now += wait,
            Decision::Go => {
                let refilled = tokens + (now - filled).as_secs_f64() * left;
                (tokens, filled) = (refilled.min(ENDPOINTS.burst), now);
                if tokens >= 1.0 {
                    tokens -= 1.0;
                } else {
                    *count += 1;
                    limiter.throttled(now);
                }
            }
        }
    }
    refused
}

#[test]
fn beside_others_who_take_half_refusals_soon_end() {
    let refused = refused_beside_others(12);
    println!("refused in each ten minutes: {refused:?}");
    assert!((1..=10).contains(&refused[0]), "{refused:?}");
    // More is tried now and then, and each time found to be too much.
    assert!(refused[1..].iter().all(|count| *count <= 1), "{refused:?}");
    assert!(refused[1..].iter().sum::<usize>() <= 4, "{refused:?}");
}

#[test]
fn after_a_while_the_bucket_is_full_and_nothing_waits() {
    let mut limiter = FairRateLimiter::new(ENDPOINTS, Duration::ZERO);
    let is_idle = |limiter: &FairRateLimiter, now: Duration| {
        let mut limiter = limiter.clone();
        limiter.advance(now);
        limiter.is_empty() && limiter.is_full(now)
    };
    assert!(!is_idle(&limiter, Duration::ZERO));
    assert!(!is_idle(&limiter, seconds(10.0)));
    assert!(is_idle(&limiter, seconds(10.2)));
    assert_eq!(limiter.acquire("a", "a", Duration::ZERO), Decision::Go);
    assert!(matches!(limiter.acquire("b", "a", Duration::ZERO), Decision::Wait(_)));
    assert!(!is_idle(&limiter, seconds(13.4)));
    // b never came back.
    assert!(is_idle(&limiter, seconds(30.0)));
}

#[test]
fn one_that_is_full_again_is_as_one_that_was_never_used() {
    let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
    assert!(!limiter.is_unused(seconds(0.1)), "it has one token after a start");
    assert!(limiter.is_unused(seconds(1.0)));
    assert_eq!(limiter.acquire("a", "team", seconds(1.0)), Decision::Go);
    assert!(!limiter.is_unused(seconds(1.0)));
    assert!(limiter.is_unused(seconds(2.0)));
    limiter.throttled(seconds(2.0));
    assert!(limiter.is_full(seconds(10.0)));
    assert!(
        !limiter.is_unused(seconds(10.0)),
        "another client takes from the bucket"
    );
    assert!(limiter.is_unused(seconds(3600.0)));
    for id in 0..6 {
        limiter.acquire(&id.to_string(), "team", seconds(3600.0));
    }
    assert!(!limiter.is_unused(seconds(3605.0)), "two wait");
}

#[test]
fn time_that_goes_backwards_makes_no_tokens() {
    let mut limiter = FairRateLimiter::new(QUICK, seconds(10.0));
    assert_eq!(limiter.acquire("a", "a", seconds(10.0)), Decision::Go);
    assert!(matches!(limiter.acquire("b", "a", seconds(1.0)), Decision::Wait(_)));
    assert!(limiter.tokens(seconds(10.0)).abs() < 1e-9);
}

/// What can happen to a limiter.
#[derive(Debug, Clone)]
enum Event {
    /// A new object of this namespace asks.
    New(u8),
    /// The owner of the reservation that is longest due asks again.
    Return,
    /// A waiting object goes away without a word, or with one.
    Vanish {
        politely: bool,
    },
    Throttled,
    Pass(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..4_u8).prop_map(Event::New),
        6 => Just(Event::Return),
        1 => any::<bool>().prop_map(|politely| Event::Vanish { politely }),
        1 => Just(Event::Throttled),
        4 => (0..5000_u16).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 0..200)
}

proptest! {
    #[test]
    fn no_window_sees_more_calls_than_burst_and_refill_allow(
        events in events(),
        burst in 1_u8..6,
        refill in 0.1_f64..5.0,
    ) {
        let limit = Limit { burst: f64::from(burst), refill_per_second: refill };
        let mut now = Duration::ZERO;
        let mut limiter = FairRateLimiter::new(limit, now);
        let mut waiting: Vec<(Duration, String, String)> = Vec::new();
        let mut went: Vec<Duration> = Vec::new();
        let mut made = 0;
        for event in events {
            let (id, namespace) = match event {
                Event::New(namespace) => {
                    made += 1;
                    (format!("o{made}"), format!("n{namespace}"))
                }
                Event::Return => {
                    waiting.sort();
                    if waiting.is_empty() {
                        continue;
                    }
                    let (due, id, namespace) = waiting.remove(0);
                    now = now.max(due);
                    (id, namespace)
                }
                Event::Vanish { politely } => {
                    if let Some((_, id, _)) = waiting.pop()
                        && politely
                    {
                        limiter.cancel(&id);
                    }
                    continue;
                }
                Event::Throttled => {
                    limiter.throttled(now);
                    continue;
                }
                Event::Pass(milliseconds) => {
                    now += Duration::from_millis(milliseconds.into());
                    continue;
                }
            };
            match limiter.acquire(&id, &namespace, now) {
                Decision::Go => went.push(now),
                Decision::Wait(wait) => waiting.push((now + wait, id, namespace)),
            }
        }
        for (first, start) in went.iter().enumerate() {
            for (last, end) in went.iter().enumerate().skip(first) {
                let calls = (last - first + 1) as f64;
                let allowed = limit.burst + refill * (*end - *start).as_secs_f64();
                prop_assert!(calls <= allowed + 1e-6, "{calls} calls, {allowed} allowed");
            }
        }
    }

    /// An object that keeps asking in time gets a token when its reservation is due, whatever
    /// others ask for and whichever vanish.
    #[test]
    fn none_starves(
        before in proptest::collection::vec(0..4_u8, 0..30),
        after in proptest::collection::vec((0..4_u8, any::<bool>()), 0..60),
    ) {
        let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
        let mut due: Vec<(Duration, String, String)> = Vec::new();
        for (at, namespace) in before.iter().enumerate() {
            due.push((Duration::ZERO, format!("before{at}"), format!("n{namespace}")));
        }
        due.push((Duration::ZERO, "patient".to_owned(), "quiet".to_owned()));
        for (at, (namespace, dies)) in after.iter().enumerate() {
            let kind = if *dies { "dies" } else { "after" };
            let time = Duration::from_millis(at as u64 * 50);
            due.push((time, format!("{kind}{at}"), format!("n{namespace}")));
        }
        let mut calls = 0;
        loop {
            due.sort();
            let (now, id, namespace) = due.remove(0);
            match limiter.acquire(&id, &namespace, now) {
                Decision::Go if id == "patient" => break,
                Decision::Go => calls += 1,
                Decision::Wait(_) if id.starts_with("dies") => {}
                Decision::Wait(wait) => due.push((now + wait, id, namespace)),
            }
            prop_assert!(now < GRACE, "still waiting at {now:?} after {calls} calls");
        }
    }

    /// With all there from the beginning, no namespace is ever more than one token ahead of another
    /// that still waits.
    #[test]
    fn tokens_go_round_robin(objects in proptest::collection::vec(0..5_u8, 1..60)) {
        let mut limiter = FairRateLimiter::new(QUICK, Duration::ZERO);
        limiter.throttled(Duration::ZERO);
        let names: Vec<(String, String)> = objects
            .iter()
            .enumerate()
            .map(|(at, namespace)| (format!("o{at}"), format!("n{namespace}")))
            .collect();
        let waiting: Vec<(&str, &str)> =
            names.iter().map(|(id, namespace)| (id.as_str(), namespace.as_str())).collect();
        let went = run(&mut limiter, &waiting, Duration::ZERO);
        prop_assert_eq!(went.len(), waiting.len());
        let mut left: std::collections::BTreeMap<&str, usize> = Default::default();
        for (_, namespace) in &waiting {
            *left.entry(namespace).or_default() += 1;
        }
        let mut had: std::collections::BTreeMap<&str, usize> = Default::default();
        for (id, _) in &went {
            let (_, namespace) = waiting.iter().find(|(other, _)| other == id).expect("known");
            *had.entry(namespace).or_default() += 1;
            *left.get_mut(namespace).expect("known") -= 1;
            let fewest = left
                .iter()
                .filter(|(_, left)| **left > 0)
                .map(|(namespace, _)| had.get(namespace).copied().unwrap_or(0))
                .min();
            if let Some(fewest) = fewest {
                prop_assert!(had[namespace] <= fewest + 1, "{went:?}");
            }
        }
    }
}

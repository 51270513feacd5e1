//! The order in which those who wait for a token get one: round-robin by namespace, so that a
//! thousand requests of one namespace delay the first of another by one.

use std::{collections::VecDeque, time::Duration};

/// A reservation lapses when its owner is this late. Owners are requeued by timers and may wait for
/// a free worker, which takes seconds at worst; one that is later has forgotten the reservation, or
/// died.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The reservations of those who wait.
#[derive(Debug, Clone, Default)]
pub(super) struct FairQueue {
    /// In the order in which their namespaces joined.
    namespaces: Vec<NamespaceQueue>,
}

/// The reservations of one namespace.
#[derive(Debug, Clone)]
struct NamespaceQueue {
    namespace: String,
    /// The round of the first reservation; each further reservation has the next.
    round: u64,
    reservations: VecDeque<Reservation>,
}

#[derive(Debug, Clone)]
pub(super) struct Reservation {
    pub(super) id: String,
    /// When the owner is to ask again, or was requeued to do so.
    pub(super) expected: Duration,
}

/// Where a reservation is, until the queue changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Of its namespace, among the namespaces.
    namespace: usize,
    /// Among the reservations of its namespace.
    reservation: usize,
}

impl FairQueue {
    pub(super) fn find(&self, id: &str) -> Option<Position> {
        self.namespaces.iter().enumerate().find_map(|(namespace, queue)| {
            let reservation = queue.reservations.iter().position(|reservation| reservation.id == id)?;
            Some(Position { namespace, reservation })
        })
    }

    /// A new reservation behind the others of its namespace, or, for the first of a namespace,
    /// behind the next one of each other namespace.
    pub(super) fn join(&mut self, id: &str, namespace: &str, now: Duration) -> Position {
        let same = |queue: &NamespaceQueue| queue.namespace == namespace;
        let at = self.namespaces.iter().position(same).unwrap_or_else(|| {
            let round = self.namespaces.iter().map(|queue| queue.round).max().unwrap_or(0);
            self.namespaces.push(NamespaceQueue {
                namespace: namespace.to_owned(),
                round,
                reservations: VecDeque::new(),
            });
            self.namespaces.len() - 1
        });
        let reservations = &mut self.namespaces[at].reservations;
        reservations.push_back(Reservation {
            id: id.to_owned(),
            expected: now,
        });
        Position {
            namespace: at,
            reservation: reservations.len() - 1,
        }
    }

    /// How many reservations come before this one: all of earlier rounds, and in its own those
    /// whose namespace joined earlier.
    pub(super) fn ahead(&self, position: Position) -> usize {
        let Position { namespace, reservation } = position;
        let round = self.namespaces[namespace].round + reservation as u64;
        let others = self.namespaces.iter().enumerate().filter(|(at, _)| *at != namespace);
        let theirs: usize = others
            .map(|(at, other)| other.before(if at < namespace { round + 1 } else { round }))
            .sum();
        theirs + reservation
    }

    pub(super) fn get_mut(&mut self, position: Position) -> &mut Reservation {
        &mut self.namespaces[position.namespace].reservations[position.reservation]
    }

    /// The reservation that comes before all others.
    pub(super) fn first_mut(&mut self) -> Option<&mut Reservation> {
        let (_, queue) = self
            .namespaces
            .iter_mut()
            .enumerate()
            .min_by_key(|(at, queue)| (queue.round, *at))?;
        queue.reservations.front_mut()
    }

    /// Removes the reservation of one that got its token, and moves its namespace to the next
    /// round.
    pub(super) fn serve(&mut self, position: Position) {
        let queue = &mut self.namespaces[position.namespace];
        let round = queue.round;
        queue.reservations.remove(position.reservation);
        queue.round += 1;
        // A namespace that was passed over, for not asking in time, is owed one token and no more:
        // else it could save them up and then spend them all at once.
        for queue in &mut self.namespaces {
            queue.round = queue.round.max(round);
        }
        self.drop_empty();
    }

    /// Removes the reservation of `id`, if it has one.
    pub(super) fn cancel(&mut self, id: &str) {
        if let Some(position) = self.find(id) {
            self.namespaces[position.namespace]
                .reservations
                .remove(position.reservation);
            self.drop_empty();
        }
    }

    /// Removes the reservations of those who did not come.
    pub(super) fn drop_lapsed(&mut self, now: Duration) {
        for queue in &mut self.namespaces {
            queue.reservations.retain(|reservation| now <= reservation.lapses_at());
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.namespaces.retain(|queue| !queue.reservations.is_empty());
        if self.namespaces.is_empty() {
            // There is a queue for each action in each account and region, and most are empty.
            self.namespaces = Vec::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Reservation> {
        self.namespaces.iter().flat_map(|queue| &queue.reservations)
    }
}

impl NamespaceQueue {
    /// How many of its reservations come before round `round`.
    fn before(&self, round: u64) -> usize {
        let rounds = usize::try_from(round.saturating_sub(self.round)).unwrap_or(usize::MAX);
        rounds.min(self.reservations.len())
    }
}

impl Reservation {
    pub(super) fn lapses_at(&self) -> Duration {
        self.expected.saturating_add(GRACE)
    }
}

//! Free ports on loopback, for programs that take one as an argument.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// A port that is free when it is chosen may be taken when it is used.
const STARTS: usize = 4;

/// Ports that are free right now, all different.
pub(crate) fn free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Starts something that takes free ports, and again where one of them was taken meanwhile.
pub(crate) fn start<T>(mut once: impl FnMut() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match once() {
            Err(error)
                if attempt < STARTS && format!("{error:#}").to_lowercase().contains("address already in use") =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_port_is_taken_is_started_again() {
        let [taken] = free().expect("a port");
        let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).expect("it is free");
        let mut ports = vec![free::<1>().expect("a port")[0], taken];
        let listener = start(|| {
            Ok(TcpListener::bind((
                Ipv4Addr::LOCALHOST,
                ports.pop().context("no more")?,
            ))?)
        });
        assert_ne!(
            listener.expect("started").local_addr().expect("an address").port(),
            taken
        );
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let mut starts = 0;
        let result: Result<()> = start(|| {
            starts += 1;
            anyhow::bail!("no such flag")
        });
        assert!(result.is_err() && starts == 1);
    }
}

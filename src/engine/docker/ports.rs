//! Where a game engine's port is published, under which host it is announced, and where it is reached from here.

use std::net::IpAddr;

use super::address::{Address, ConnectError, is_host};
use super::options::DockerOptions;

/// How the port of a container is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    /// Where a game engine listens inside its container.
    pub(super) inside: u16,
    /// The address of the engine's machine on which the port is published.
    pub(super) publish_ip: String,
    /// The host port of a binding: empty for one of the engine's choice, or `first-last` for one of this range.
    pub(super) host_port: String,
    /// The host of an endpoint, as a URL has it (an IPv6 address in brackets).
    pub(super) endpoint_host: String,
    /// The host under which a published port is reached from here. An announced name need not lead anywhere from here.
    pub(super) reach: String,
}

impl Ports {
    /// What follows from the settings and from where the engine is.
    pub(super) fn new(address: &Address, options: &DockerOptions) -> Result<Self, ConnectError> {
        if options.port == 0 {
            return Err(ConnectError::EnginePort);
        }
        let host_port = match options.port_range {
            None => String::new(),
            Some((first, last)) if first != 0 && first <= last => format!("{first}-{last}"),
            Some((first, last)) => return Err(ConnectError::PortRange(first, last)),
        };
        // Another machine's loopback cannot be reached from here.
        let default = if address.is_local() { "127.0.0.1" } else { "0.0.0.0" };
        let publish_ip = options.publish_address.map_or_else(|| default.to_owned(), |ip| ip.to_string());
        let reach = match options.publish_address {
            // Published on this address only; the engine's own address may be another one.
            Some(ip) if !ip.is_unspecified() && (address.is_local() || !ip.is_loopback()) => url_host(ip),
            _ => address.host().to_owned(),
        };
        let endpoint_host = match options.advertise_host.as_deref() {
            None => reach.clone(),
            Some(host) => match host.parse::<IpAddr>() {
                Ok(ip) => url_host(ip),
                Err(_) if is_host(host) => host.to_owned(),
                Err(_) => return Err(ConnectError::AdvertisedHost(host.to_owned())),
            },
        };
        Ok(Self { inside: options.port, publish_ip, host_port, endpoint_host, reach })
    }

    /// The endpoint behind a published port.
    pub(super) fn endpoint(&self, published: u16) -> String {
        format!("http://{}:{published}", self.endpoint_host)
    }

    /// The same endpoint with the host under which it is reached from here.
    pub(super) fn reached(&self, endpoint: &str) -> String {
        let port = endpoint.rsplit_once(':').map_or("", |(_, port)| port);
        format!("http://{}:{port}", self.reach)
    }
}

fn url_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(host: &str, change: impl FnOnce(&mut DockerOptions)) -> Result<Ports, ConnectError> {
        let mut options = DockerOptions::new(host, 8080, 1);
        change(&mut options);
        Ports::new(&Address::parse(host).expect("a URL"), &options)
    }

    fn check(host: &str, publish: Option<&str>, advertise: Option<&str>, want: [&str; 3]) {
        let got = ports(host, |options| {
            options.publish_address = publish.map(|ip| ip.parse().expect("an address"));
            options.advertise_host = advertise.map(str::to_owned);
        });
        let got = got.expect("good options");
        assert_eq!([got.publish_ip.as_str(), &got.endpoint(7), &got.reached(&got.endpoint(7))], want, "{host}");
    }

    #[test]
    fn a_local_engine_publishes_on_loopback_and_a_remote_one_everywhere() {
        check("unix:///s", None, None, ["127.0.0.1", "http://127.0.0.1:7", "http://127.0.0.1:7"]);
        check("tcp://[fd00::7]:2375", None, None, ["0.0.0.0", "http://[fd00::7]:7", "http://[fd00::7]:7"]);
    }

    #[test]
    fn an_announced_host_is_not_where_a_port_is_reached() {
        let name = Some("games.example");
        check("unix:///s", None, name, ["127.0.0.1", "http://games.example:7", "http://127.0.0.1:7"]);
        check("unix:///s", Some("0.0.0.0"), name, ["0.0.0.0", "http://games.example:7", "http://127.0.0.1:7"]);
        check("unix:///s", Some("10.0.0.5"), name, ["10.0.0.5", "http://games.example:7", "http://10.0.0.5:7"]);
        check("unix:///s", Some("10.0.0.5"), None, ["10.0.0.5", "http://10.0.0.5:7", "http://10.0.0.5:7"]);
        check("tcp://h:1", Some("10.0.0.5"), name, ["10.0.0.5", "http://games.example:7", "http://10.0.0.5:7"]);
        check("tcp://h:1", Some("127.0.0.1"), name, ["127.0.0.1", "http://games.example:7", "http://h:7"]);
        check("tcp://h:1", None, Some("fd00::5"), ["0.0.0.0", "http://[fd00::5]:7", "http://h:7"]);
        check("tcp://h:1", Some("::"), Some("[fd00::5]"), ["::", "http://[fd00::5]:7", "http://h:7"]);
        check("unix:///s", Some("fd00::5"), None, ["fd00::5", "http://[fd00::5]:7", "http://[fd00::5]:7"]);
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        let of_range = |first, last| ports("unix:///s", |options| options.port_range = Some((first, last)));
        assert_eq!(of_range(7, 7).map(|ports| ports.host_port), Ok("7-7".to_owned()));
        assert_eq!(of_range(0, 7), Err(ConnectError::PortRange(0, 7)));
        assert_eq!(of_range(8, 7), Err(ConnectError::PortRange(8, 7)));
        for host in ["", "a b", "a/b", "a:1", "u@h", "[::1", "http://h"] {
            let refused = ports("unix:///s", |options| options.advertise_host = Some(host.to_owned()));
            assert_eq!(refused, Err(ConnectError::AdvertisedHost(host.to_owned())));
        }
        assert_eq!(ports("unix:///s", |options| options.port = 0), Err(ConnectError::EnginePort));
    }
}

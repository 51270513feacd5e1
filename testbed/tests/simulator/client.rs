//! As little of an AWS client as the simulator's tests need: one request a connection, answers as
//! text.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use vpce_testbed::aws::Simulator;

/// Credentials, and the region they are used in.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    region: String,
    key_id: String,
    token: Option<String>,
    signed_at: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    /// A client with the simulator's base credentials.
    pub(crate) fn base(simulator: &Simulator, region: &str) -> Self {
        Self {
            address: simulator.url().trim_start_matches("http://").to_owned(),
            region: region.to_owned(),
            key_id: simulator.base_credentials().0,
            token: None,
            signed_at: None,
        }
    }

    /// The same with other credentials.
    pub(crate) fn with_key(&self, key_id: &str, token: Option<&str>) -> Self {
        Self {
            key_id: key_id.to_owned(),
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same in another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self {
            region: region.to_owned(),
            ..self.clone()
        }
    }

    /// The same with requests that bear this date.
    pub(crate) fn signing_at(&self, date: &str) -> Self {
        Self {
            signed_at: Some(date.to_owned()),
            ..self.clone()
        }
    }

    /// The session that AssumeRole hands out.
    pub(crate) fn assume(&self, role_arn: &str) -> Self {
        let answer = self
            .sts("AssumeRole", &[("RoleArn", role_arn), ("RoleSessionName", "test")])
            .succeeded();
        self.with_key(&answer.text("AccessKeyId"), Some(&answer.text("SessionToken")))
    }

    /// Calls STS.
    pub(crate) fn sts(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.call("sts", "2011-06-15", action, params).expect("an answer")
    }

    /// Calls Elastic Load Balancing.
    pub(crate) fn elb(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.try_elb(action, params).expect("an answer")
    }

    /// Calls Elastic Load Balancing; `None` if the connection is closed without an answer.
    pub(crate) fn try_elb(&self, action: &str, params: &[(&str, &str)]) -> Option<Answer> {
        self.call("elasticloadbalancing", "2015-12-01", action, params)
    }

    /// Calls EC2.
    pub(crate) fn ec2(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.try_ec2(action, params).expect("an answer")
    }

    /// Has an Interface endpoint made in the VPC of [`simulator`](crate::simulator), with more
    /// parameters.
    pub(crate) fn create_endpoint(&self, service: &str, more: &[(&str, &str)]) -> Answer {
        let base = [
            ("VpcEndpointType", "Interface"),
            ("VpcId", "vpc-1"),
            ("ServiceName", service),
        ];
        self.ec2("CreateVpcEndpoint", &[&base, more].concat())
    }

    /// Calls EC2; `None` if the connection is closed without an answer.
    pub(crate) fn try_ec2(&self, action: &str, params: &[(&str, &str)]) -> Option<Answer> {
        self.call("ec2", "2016-11-15", action, params)
    }

    fn call(&self, service: &str, version: &str, action: &str, params: &[(&str, &str)]) -> Option<Answer> {
        let mut stream = self.send(service, version, action, params);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Calls EC2 and goes away, when the returned stream is dropped, without having read the
    /// answer.
    pub(crate) fn ask_ec2(&self, action: &str, params: &[(&str, &str)]) -> TcpStream {
        self.send("ec2", "2016-11-15", action, params)
    }

    fn send(&self, service: &str, version: &str, action: &str, params: &[(&str, &str)]) -> TcpStream {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", version)
            .extend_pairs(params)
            .finish();
        let token = self.token.as_ref();
        let token = token.map_or_else(String::new, |token| format!("x-amz-security-token: {token}\r\n"));
        let date = self.signed_at.as_ref();
        let date = date.map_or_else(String::new, |date| format!("x-amz-date: {date}\r\n"));
        let request = format!(
            "POST / HTTP/1.1\r\nHost: aws\r\nConnection: close\r\nContent-Length: {}\r\n{token}{date}\
             Authorization: AWS4-HMAC-SHA256 Credential={}/20260101/{}/{service}/aws4_request, SignedHeaders=host, \
             Signature=0\r\n\r\n{body}",
            body.len(),
            self.key_id,
            self.region
        );
        let mut stream = TcpStream::connect(&self.address).expect("the simulator listens");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    }
}

impl Answer {
    /// The text of the first element of this name; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.texts(name).into_iter().next().unwrap_or_default()
    }

    /// The texts of all elements of this name.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(&start).skip(1);
        parts
            .filter_map(|part| Some(part.split_once(&end)?.0.to_owned()))
            .collect()
    }

    /// Whether all of its body came.
    pub(crate) fn is_whole(&self) -> bool {
        let length = format!("content-length: {}\r\n", self.body.len());
        format!("{}\r\n", self.head.to_lowercase()).contains(&length)
    }

    /// Itself, or a panic that shows why not.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    /// Panics unless it is this error.
    #[track_caller]
    pub(crate) fn refused(&self, code: &str) {
        assert_eq!(self.text("Code"), code, "{}", self.body);
        assert_ne!(self.status, 200);
    }
}

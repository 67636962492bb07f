//! What the control interface serves, as one list: it is searched for each request, told by
//! `GET /`, and compared with `docs/openapi.yaml` by a test.

use hyper::Method;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    AddFault,
    AddSubscriber,
    ChangeSubscriber,
    Contents,
    Drain,
    Faults,
    Health,
    Lab,
    Log,
    Metrics,
    Node,
    Nodes,
    OpenApiJson,
    OpenApiYaml,
    Order,
    RemoveFault,
    RemoveSubscriber,
    SetLog,
    Subscriber,
    Table,
    Trace,
    Why,
}

/// A method on a path; `{…}` stands for one part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// What it is good for, in a few words.
    pub what: &'static str,
    pub(super) does: Does,
}

const fn route(method: &'static str, path: &'static str, does: Does, what: &'static str) -> Route {
    Route { method, path, what, does }
}

/// Every route. A fixed part of a path goes before `{…}`.
pub const ROUTES: [Route; 29] = [
    route("GET", "/", Does::Contents, "what there is"),
    route("GET", "/openapi.json", Does::OpenApiJson, "this interface as an OpenAPI document"),
    route("GET", "/openapi.yaml", Does::OpenApiYaml, "the same as YAML"),
    route("GET", "/lab", Does::Lab, "the domain, the nodes and the number of subscribers"),
    route("GET", "/health", Does::Health, "how the nodes are, and who reaches whom"),
    route("GET", "/metrics", Does::Metrics, "what the nodes have counted, for Prometheus"),
    route("GET", "/trace", Does::Trace, "the trace as server-sent events: ?user= ?node= ?method="),
    route("GET", "/why/{user}", Does::Why, "the last refusals of a user, with values and clauses"),
    route("POST", "/orders", Does::Order, "any order: {\"order\": \"dereg alice\"}"),
    route("GET", "/faults", Does::Faults, "the fault rules of all nodes"),
    route("POST", "/faults", Does::AddFault, "one more: {\"rule\": \"…\"} as in `fault add`"),
    route("DELETE", "/faults/{fault}", Does::RemoveFault, "one less"),
    route("GET", "/subscribers", Does::Table, "the subscribers of the HSS with their state"),
    route("POST", "/subscribers", Does::AddSubscriber, "one more, with the keys of a lab file"),
    route("GET", "/subscribers/{name}", Does::Subscriber, "one of them, without its secrets"),
    route("PATCH", "/subscribers/{name}", Does::ChangeSubscriber, "other values for some keys"),
    route("DELETE", "/subscribers/{name}", Does::RemoveSubscriber, "lets it go, by RTR"),
    route("GET", "/nodes", Does::Nodes, "the nodes"),
    route("GET", "/nodes/{node}", Does::Node, "one of them"),
    route("GET", "/nodes/{node}/health", Does::Health, "how it is"),
    route("GET", "/nodes/{node}/metrics", Does::Metrics, "what it has counted"),
    route("GET", "/nodes/{node}/trace", Does::Trace, "its trace"),
    route("GET", "/nodes/{node}/log", Does::Log, "what it logs"),
    route("PUT", "/nodes/{node}/log", Does::SetLog, "from now on: {\"filter\": \"debug\"}"),
    route("PUT", "/nodes/{node}/drain", Does::Drain, "{\"drain\": true} for maintenance, or false"),
    route("POST", "/nodes/{node}/orders", Does::Order, "an order to this node only"),
    route("GET", "/nodes/{node}/faults", Does::Faults, "its fault rules"),
    route("GET", "/nodes/{node}/{table}", Does::Table, "a table of it: ?of=USER"),
    route("GET", "/{table}", Does::Table, "a table: registrations, dialogs, transactions, …"),
];

/// What a request means: the route, and what stood where its path has `{…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) does: Does,
    parts: Vec<(&'static str, String)>,
}

impl Found {
    /// The part of the path under a name.
    pub(super) fn part(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|(known, _)| *known == name).map(|(_, part)| part.as_str())
    }
}

/// Why a request means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The path has other methods.
    Method(Vec<&'static str>),
    /// There is no such path.
    Path,
}

/// Finds the route of a request; parts of the path are percent-decoded.
pub(super) fn find(method: &Method, path: &str) -> Result<Found, Lost> {
    let parts: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(percent_decoded).collect();
    let mut others = Vec::new();
    // A path with a fixed part at some place means no other.
    let mut fixed = None;
    for route in &ROUTES {
        let Some(found) = matched(route.path, &parts) else { continue };
        let count = found.len();
        if fixed.is_some_and(|fewest| count > fewest) {
            continue;
        }
        fixed = Some(count);
        if route.method == method.as_str() {
            return Ok(Found { does: route.does, parts: found });
        }
        others.push(route.method);
    }
    Err(if others.is_empty() { Lost::Path } else { Lost::Method(others) })
}

fn matched(pattern: &'static str, parts: &[String]) -> Option<Vec<(&'static str, String)>> {
    let wanted: Vec<&'static str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    if wanted.len() != parts.len() {
        return None;
    }
    let mut found = Vec::new();
    for (wanted, part) in wanted.into_iter().zip(parts) {
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => found.push((name, part.clone())),
            None if wanted == part => {}
            None => return None,
        }
    }
    Some(found)
}

/// The value of a key of a query, decoded; `None` if the key is not there or has none.
pub(super) fn query(text: Option<&str>, key: &str) -> Option<String> {
    let pairs = text.unwrap_or_default().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    (!value.is_empty()).then(|| percent_decoded(value))
}

/// A plus stays one: it begins telephone numbers.
fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digits = (byte == b'%').then(|| (bytes.next(), bytes.next()));
        let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
        out.push(match digits {
            None => byte,
            Some((high, low)) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                _ => b'?',
            },
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_be_named_by_a_uri() {
        let of = |text| query(Some(text), "of");
        assert_eq!(of("a=b&of=sip%3Aalice%40ims").as_deref(), Some("sip:alice@ims"));
        assert_eq!(of("of=tel:+15550100001").as_deref(), Some("tel:+15550100001"));
        assert_eq!(of("of=%zz").as_deref(), Some("?"));
        assert_eq!((of("of="), of("off=1"), query(None, "of")), (None, None, None));
    }

    #[test]
    fn a_fixed_path_goes_before_a_table() {
        let does = |method: Method, path| find(&method, path).map(|found| found.does);
        assert_eq!(does(Method::GET, "/health"), Ok(Does::Health));
        assert_eq!(does(Method::GET, "/dialogs/"), Ok(Does::Table));
        assert_eq!(does(Method::GET, "/nodes/p1/health"), Ok(Does::Health));
        assert_eq!(does(Method::POST, "/health"), Err(Lost::Method(vec!["GET"])));
        assert_eq!(does(Method::PUT, "/nodes/p1/log"), Ok(Does::SetLog));
        assert_eq!(does(Method::POST, "/subscribers"), Ok(Does::AddSubscriber));
        assert_eq!(does(Method::PUT, "/a/b/c/d"), Err(Lost::Path));
        let found = find(&Method::GET, "/why/tel%3A%2B1").expect("a route");
        assert_eq!(found.part("user"), Some("tel:+1"));
    }

    #[test]
    fn no_route_stands_twice() {
        for (at, one) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| (other.method, other.path) == (one.method, one.path);
            assert!(!ROUTES[at + 1..].iter().any(|other| same(&other)), "{one:?}");
        }
    }
}

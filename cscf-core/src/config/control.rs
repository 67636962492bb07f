//! Where a lab and its nodes are controlled, and by which token.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::lab::{Lab, NodeConfig, socket_addr};
use super::problem::Problems;
use super::tree::{Node, Reader, Value, scalar};
use super::write::quoted;

/// Letters of a token at least.
const TOKEN_LETTERS_MIN: usize = 8;

/// The token without which a control address does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlToken {
    /// In the first line of this file.
    File(PathBuf),
    /// A new one with each start, which is told on the terminal.
    Fresh,
    /// This one.
    Text(String),
}

/// Where a node that runs by itself is controlled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeControl {
    /// At this address.
    At(SocketAddr),
    /// Beside the address of the lab: on the following ports, in the order of the nodes.
    #[default]
    BesideLab,
    /// Nowhere.
    Off,
}

impl Lab {
    /// Where a node of this lab is controlled when it runs by itself; nowhere where the lab is not
    /// controlled either.
    #[must_use]
    pub fn control_of(&self, node: &NodeConfig) -> Option<SocketAddr> {
        match node.control {
            NodeControl::At(addr) => Some(addr),
            NodeControl::Off => None,
            NodeControl::BesideLab => {
                let lab = self.control?;
                let at = self.nodes.iter().position(|one| one.name == node.name)?;
                let port = lab.port().checked_add(u16::try_from(at).ok()?)?.checked_add(1)?;
                Some(SocketAddr::new(lab.ip(), port))
            }
        }
    }

    /// The key as it stands in the file.
    pub(super) fn control_written(&self) -> String {
        let Some(addr) = self.control else { return "\"off\"".to_owned() };
        match &self.control_token {
            None => format!("\"{addr}\""),
            Some(ControlToken::Fresh) => format!("{{address: \"{addr}\", token: generate}}"),
            Some(ControlToken::Text(text)) => {
                format!("{{address: \"{addr}\", token: {}}}", quoted(text))
            }
            Some(ControlToken::File(path)) => {
                let path = quoted(&path.to_string_lossy());
                format!("{{address: \"{addr}\", token_file: {path}}}")
            }
        }
    }
}

/// Reads `control`: an address, `off`, or a mapping with address and token.
pub(super) fn read(
    node: Option<&Node>,
    problems: &mut Problems,
) -> (Option<SocketAddr>, Option<ControlToken>) {
    let Some(node) = node else { return (None, None) };
    if !matches!(node.value, Value::Map(_)) {
        let addr = scalar(node, problems, off_or_address).flatten();
        check(node, addr, None, problems);
        return (addr, None);
    }
    let mut reader = Reader::new(node, "control", problems);
    let at = reader.required("address", problems);
    let addr = at.and_then(|node| scalar(node, problems, socket_addr));
    let text = reader.optional("token");
    let token = text.and_then(|node| scalar(node, problems, token));
    let file = reader.optional("token_file");
    let file =
        file.and_then(|node| scalar(node, problems, |text| Ok(ControlToken::File(text.into()))));
    reader.finish(problems);
    if token.is_some() && file.is_some() {
        problems.push(node.at, "control has either `token` or `token_file`", None);
    }
    // A token that is wrong was meant to be one.
    if text.is_none() {
        check(at.unwrap_or(node), addr, file.as_ref(), problems);
    }
    (addr, token.or(file))
}

/// Reads the key `control` of a node.
pub(super) fn read_node(reader: &mut Reader<'_>, problems: &mut Problems) -> NodeControl {
    reader.or("control", NodeControl::BesideLab, problems, |text| {
        Ok(off_or_address(text)?.map_or(NodeControl::Off, NodeControl::At))
    })
}

/// A node's own address needs the token of the lab where others reach it.
pub(super) fn check_nodes(lab: &Lab, listed: Option<&Node>, problems: &mut Problems) {
    let at = listed.map(|node| node.at).unwrap_or_default();
    for node in &lab.nodes {
        if let NodeControl::At(addr) = node.control
            && !addr.ip().is_loopback()
            && lab.control_token.is_none()
        {
            let text = format!("`{}` is controlled at {addr}: {REACHABLE}", node.name);
            problems.push(at, text, Some(HELP.to_owned()));
        }
    }
}

const REACHABLE: &str = "others than this machine reach it, so whoever does needs a token";
const HELP: &str = "write `control: {address: \"0.0.0.0:9480\", token: generate}`, with a token of \
                    your own, or `token_file: PATH`";

fn check(
    node: &Node,
    addr: Option<SocketAddr>,
    token: Option<&ControlToken>,
    problems: &mut Problems,
) {
    if let Some(addr) = addr.filter(|addr| !addr.ip().is_loopback() && token.is_none()) {
        problems.push(node.at, format!("{addr}: {REACHABLE}"), Some(HELP.to_owned()));
    }
}

fn token(text: &str) -> Result<ControlToken, String> {
    let fine = text.len() >= TOKEN_LETTERS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
    match text {
        "generate" => Ok(ControlToken::Fresh),
        _ if fine => Ok(ControlToken::Text(text.to_owned())),
        _ => Err(format!(
            "a token has at least {TOKEN_LETTERS_MIN} letters, digits or signs and no blanks; or \
             write `generate`"
        )),
    }
}

fn off_or_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" { Ok(None) } else { socket_addr(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::super::lab::read_lab;
    use super::*;

    fn with_control(text: &str) -> String {
        let yaml = Lab::default_lab().to_yaml();
        let changed = yaml.replace("control: \"127.0.0.1:9480\"", &format!("control: {text}"));
        assert!(changed != yaml || text.contains("127.0.0.1:9480"));
        changed
    }

    fn fault(text: &str) -> (u32, u32, String) {
        let source = with_control(text);
        let problems = read_lab(&source).expect_err("wrong");
        let first = problems.0.first().expect("a problem");
        let line = source.lines().position(|line| line.starts_with("control:")).expect("a line");
        let line = u32::try_from(line).expect("short") + 1;
        (first.at.line - line, first.at.column, first.text.clone())
    }

    #[test]
    fn every_form_reads_back_as_itself() {
        for (text, token) in [
            ("{address: \"0.0.0.0:9480\", token: generate}", ControlToken::Fresh),
            (
                "{address: \"[::]:1\", token: a-secret-word}",
                ControlToken::Text("a-secret-word".into()),
            ),
            ("{address: \"10.0.0.1:1\", token_file: /run/t}", ControlToken::File("/run/t".into())),
        ] {
            let lab = read_lab(&with_control(text)).expect("a lab");
            assert_eq!(lab.control_token, Some(token));
            assert_eq!(read_lab(&lab.to_yaml()), Ok(lab));
        }
        assert_eq!(read_lab(&with_control("\"off\"")).expect("a lab").control, None);
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        let (line, column, text) = fault("\"0.0.0.0:9480\"");
        assert_eq!((line, column), (0, 10));
        assert!(text.starts_with("0.0.0.0:9480: others than this machine reach it"), "{text}");
        assert_eq!(fault("{address: \"192.0.2.1:9480\"}").1, 20);
        let (.., short) = fault("{address: \"192.0.2.1:9480\", token: short}");
        assert!(short.contains("at least 8"), "{short}");
        let yaml = with_control("\"127.0.0.1:9480\"")
            .replace("  p1: {", "  p1: {control: \"0.0.0.0:1\", ");
        let problems = read_lab(&yaml).expect_err("wrong");
        assert!(problems.0[0].text.starts_with("`p1` is controlled at 0.0.0.0:1: "));
    }

    #[test]
    fn nodes_side_by_side_have_ports_of_their_own() {
        let mut lab = Lab::default_lab();
        lab.nodes[1].control = NodeControl::Off;
        lab.nodes[2].control = NodeControl::At("127.0.0.9:1".parse().expect("address"));
        let at: Vec<_> = lab.nodes.iter().map(|node| lab.control_of(node)).collect();
        let addr = |text: &str| Some(text.parse().expect("address"));
        assert_eq!(at, [addr("127.0.0.1:9481"), None, addr("127.0.0.9:1"), addr("127.0.0.1:9484")]);
        assert_eq!(read_lab(&lab.to_yaml()), Ok(lab.clone()));
        lab.control = None;
        assert_eq!(lab.control_of(&lab.nodes[0]), None);
    }
}

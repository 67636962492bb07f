//! The grammar of a rule for machines; `docs/faults.md` has it for users.

use std::str::FromStr;

use regex::RegexBuilder;

use super::POLICY;
use super::rule::{
    About, Action, Answer, Condition, Count, Direction, Edit, Matching, Mistake, Rule, Spoilt,
    What, When,
};
use super::words::{COMMANDS, Cursor, METHODS, Word, quoted, split_headers, words};
use crate::cx::CxResult;
use crate::words::nearest;

/// One sentence for each thing that a rule can do.
pub const FORMS: &str = "\
NODE answers MESSAGE with STATUS [\"reason\"][: {Header: value, body: \"text\"}]
NODE answers COMMAND with CODE | wrong MAC | old SQN | garbled data | garbage
NODE drops MESSAGE
NODE delays MESSAGE by TIME
NODE sends|receives MESSAGE twice | N times
NODE reorders MESSAGE
NODE corrupts MESSAGE
NODE cuts the connection [of NAME] after MESSAGE
NODE crashes at MESSAGE [and restarts after TIME]
NODE is overloaded[: {Retry-After: 30}]
NODE removes HEADER[;parameter] | SDP line \"begin\" from MESSAGE
NODE adds HEADER \"value\" | SDP line \"line\" to MESSAGE
NODE sets HEADER[;parameter] to \"value\" | SDP line \"line\" in MESSAGE
NODE replaces \"text\" with \"text\" in MESSAGE
NODE spoils the MAC in MESSAGE
policy accepts|refuses|refuses above KBPS|late TIME|silent|lost after TIME [of USER]
MESSAGE: [received|sent] METHOD|STATUS|4xx|COMMAND|keep-alives|requests|responses|anything
         [for METHOD] [from NAME | to NAME] [of USER]
behind a comma: first [N] | second | 3rd | in 20% | after TIME | until TIME
                if HEADER[;parameter] is|contains|lacks VALUE | matches /…/ | is present|absent
";

const VERBS: [&str; 15] = [
    "adds", "answers", "corrupts", "crashes", "cuts", "delays", "drops", "is", "receives",
    "removes", "reorders", "replaces", "sends", "sets", "spoils",
];

/// The Retry-After of an overloaded node where nothing is said, in seconds.
const RETRY_AFTER: u32 = 30;
/// Copies of one message at most.
const COPIES_MAX: u32 = 10;
/// The memory a compiled expression may take.
const REGEX_BYTES_MAX: usize = 64 * 1024;
/// The longest text of a rule.
const TEXT_MAX: usize = 16 * 1024;

impl FromStr for Rule {
    type Err = Mistake;

    /// Reads a rule with its headers in braces.
    fn from_str(text: &str) -> Result<Self, Mistake> {
        let (sentence, headers) = split_headers(text)?;
        read(sentence, &headers)
    }
}

/// Reads a rule from its sentence and the headers that stand below it.
///
/// # Errors
///
/// What is wrong, and where in the sentence.
pub fn read(sentence: &str, headers: &[(String, String)]) -> Result<Rule, Mistake> {
    let text = text_of(sentence, headers);
    let whole = |text: &str| Mistake { at: 0, len: sentence.len(), text: text.into(), help: None };
    if text.len() > TEXT_MAX {
        return Err(whole("the rule is longer than 16 KiB"));
    }
    let all = words(sentence)?;
    let mut parts = all.split(|word| word.is(","));
    let mut head = Cursor::new(parts.next().unwrap_or_default(), sentence);
    let node = head.take("a node, e.g. `p1 drops INVITE from alice`")?.text.clone();
    let mut about = About::default();
    let mut action =
        if node == POLICY { policy(&mut head, &mut about)? } else { deed(&mut head, &mut about)? };
    head.end()?;
    let mut when = When::default();
    for part in parts {
        qualifier(&mut Cursor::new(part, sentence), &mut when, &mut about)?;
    }
    take_headers(&mut action, headers).map_err(|text| whole(&text))?;
    Ok(Rule { text, node, about, action, when, known: Vec::new() })
}

/// The one text of a rule whose headers stand elsewhere.
fn text_of(sentence: &str, headers: &[(String, String)]) -> String {
    let sentence = sentence.trim();
    if headers.is_empty() {
        return sentence.to_owned();
    }
    let pairs: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
    format!("{sentence}: {{{}}}", pairs.join(", "))
}

/// What the policy function does: the words of its conduct, then whom for.
fn policy(words: &mut Cursor<'_>, about: &mut About) -> Result<Action, Mistake> {
    let first = words.take("what the policy function does, e.g. `refuses`")?;
    let mut conduct = first.text.clone();
    while let Some(word) = words.peek().filter(|word| !word.is("of")) {
        conduct.push(' ');
        conduct.push_str(&word.text);
        words.next += 1;
    }
    let conduct = conduct.parse().map_err(|fault: String| first.wrong(fault, None))?;
    if words.skip("of") {
        about.of = Some(words.take("a user")?.text.clone());
    }
    Ok(Action::Policy(conduct))
}

/// The verb with all that belongs to it.
fn deed(words: &mut Cursor<'_>, about: &mut About) -> Result<Action, Mistake> {
    let verb = words.take("what it does, e.g. `drops`")?;
    Ok(match verb.text.as_str() {
        "adds" | "removes" | "replaces" | "sets" => {
            let edit = edit(verb, words)?;
            on(Action::Edit(edit), words, about)?
        }
        "answers" => answers(words, about)?,
        "corrupts" => on(Action::Corrupt, words, about)?,
        "crashes" => {
            words.must(&["at"])?;
            message(words, about)?;
            let back = words.skip("and");
            if back {
                words.must(&["restarts", "after"])?;
            }
            Action::Crash { back_after: back.then(|| words.time()).transpose()? }
        }
        "cuts" => {
            words.must(&["the", "connection"])?;
            let peer = words.skip("of").then(|| words.take("a name")).transpose()?;
            words.must(&["after"])?;
            message(words, about)?;
            about.peer = peer.map(|word| word.text.clone()).or(about.peer.take());
            Action::Cut
        }
        "delays" => {
            message(words, about)?;
            words.must(&["by"])?;
            Action::Delay(words.time()?)
        }
        "drops" => on(Action::Drop, words, about)?,
        "is" => {
            words.must(&["overloaded"])?;
            Action::Overload(RETRY_AFTER)
        }
        "receives" | "sends" => copies(verb, words, about)?,
        "reorders" => on(Action::Reorder, words, about)?,
        "spoils" => {
            words.must(&["the", "MAC", "in"])?;
            on(Action::SpoilMac, words, about)?
        }
        other => {
            let help = match nearest(other, VERBS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there is: {}", VERBS.join(", ")),
            };
            return Err(verb.wrong(format!("a fault rule has no verb `{other}`"), Some(help)));
        }
    })
}

/// What is changed in a message, up to the message.
fn edit(verb: &Word, words: &mut Cursor<'_>) -> Result<Edit, Mistake> {
    Ok(match verb.text.as_str() {
        "adds" => {
            let edit = if sdp_line(words)? {
                Edit::AddLine(line(words)?)
            } else {
                let name = header(words)?;
                Edit::AddHeader(name, words.take("the value")?.text.clone())
            };
            words.must(&["to"])?;
            edit
        }
        "removes" => {
            let edit = if sdp_line(words)? {
                Edit::RemoveLine(line(words)?)
            } else {
                let (name, parameter) = header_part(words)?;
                match parameter {
                    None => Edit::RemoveHeader(name),
                    Some(parameter) => Edit::RemoveParameter(name, parameter),
                }
            };
            words.must(&["from"])?;
            edit
        }
        "replaces" => {
            let old = words.take("the text to be replaced, in quotation marks")?;
            if old.text.is_empty() {
                return Err(old.wrong("an empty text stands everywhere", None));
            }
            words.must(&["with"])?;
            let new = words.take("the new text, in quotation marks")?;
            words.must(&["in"])?;
            Edit::Replace(old.text.clone(), new.text.clone())
        }
        _ => {
            let edit = if sdp_line(words)? {
                Edit::SetLine(line(words)?)
            } else {
                let (name, parameter) = header_part(words)?;
                words.must(&["to"])?;
                let value = words.take("the value")?.text.clone();
                match parameter {
                    None => Edit::SetHeader(name, value),
                    Some(parameter) => Edit::SetParameter(name, parameter, value),
                }
            };
            words.must(&["in"])?;
            edit
        }
    })
}

fn on(action: Action, words: &mut Cursor<'_>, about: &mut About) -> Result<Action, Mistake> {
    message(words, about)?;
    Ok(action)
}

/// `sends MESSAGE twice`, `receives MESSAGE 3 times`.
fn copies(verb: &Word, words: &mut Cursor<'_>, about: &mut About) -> Result<Action, Mistake> {
    message(words, about)?;
    let direction = if verb.is("sends") { Direction::Sent } else { Direction::Received };
    if about.peer.is_some() && about.direction != direction {
        return Err(verb.wrong("a node sends `to` and receives `from` another", None));
    }
    about.direction = direction;
    if words.skip("twice") {
        return Ok(Action::Copies(2));
    }
    let word = words.take("`twice` or a number of times")?;
    let count = word.text.parse().ok().filter(|count| (2..=COPIES_MAX).contains(count));
    let count = count.ok_or_else(|| {
        let help = Some(format!("write `twice`, or 2 to {COPIES_MAX} `times`"));
        word.wrong(format!("`{}` is no number of copies", word.text), help)
    })?;
    words.must(&["times"])?;
    Ok(Action::Copies(count))
}

/// `answers REGISTER with 503 "reason"`, `answers MAR with 5012`, `answers MAR with wrong MAC`.
fn answers(words: &mut Cursor<'_>, about: &mut About) -> Result<Action, Mistake> {
    let begin = words.peek();
    message(words, about)?;
    let fault = match &about.what {
        What::Class(_) | What::Responses | What::Status(_) => "an answer is not answered",
        What::Command(command) if command.ends_with('A') => "an answer is not answered",
        What::KeepAlives => "a keep-alive is answered by its node",
        What::Method(method) if method == "ACK" => "nobody answers an ACK",
        _ => "",
    };
    if let Some(begin) = begin.filter(|_| !fault.is_empty()) {
        let help = Some("name a request, e.g. `REGISTER`".to_owned());
        return Err(begin.wrong(fault, help));
    }
    if about.direction == Direction::Sent {
        about.direction = Direction::Received;
        if let Some(begin) = begin {
            return Err(begin.wrong("a node answers what it receives `from` others", None));
        }
    }
    words.must(&["with"])?;
    let word = words.take("a status or result code")?;
    let spoilt = [
        (["wrong", "MAC"], Spoilt::WrongMac),
        (["old", "SQN"], Spoilt::OldSqn),
        (["garbled", "data"], Spoilt::GarbledData),
    ];
    if word.is("garbage") {
        return Ok(Action::Spoil(Spoilt::Garbage));
    }
    if let Some(([_, second], how)) = spoilt.into_iter().find(|([first, _], _)| word.is(first)) {
        words.must(&[second])?;
        return Ok(Action::Spoil(how));
    }
    if matches!(about.what, What::Command(_)) || word.text.len() > 3 {
        let result = CxResult::read(&word.text).map_err(|fault| word.wrong(fault, None))?;
        return Ok(Action::Result(result));
    }
    let status = word.text.parse().ok().filter(|status| (100..700).contains(status));
    let status = status
        .ok_or_else(|| word.wrong(format!("`{}` is no status from 100 to 699", word.text), None))?;
    let reason = words.peek().filter(|word| word.quoted).map(|word| word.text.clone());
    words.next += usize::from(reason.is_some());
    Ok(Action::Answer(Answer { status, reason, ..Answer::default() }))
}

/// Which messages.
fn message(words: &mut Cursor<'_>, about: &mut About) -> Result<(), Mistake> {
    let mut direction = None;
    if words.skip("received") {
        direction = Some(Direction::Received);
    } else if words.skip("sent") {
        direction = Some(Direction::Sent);
    }
    about.what = what(words.take("a message, e.g. `INVITE`, `401` or `MAR`")?)?;
    while let Some(word) = words.peek() {
        if words.skip("for") {
            let method = words.take("a method")?;
            let is_response =
                matches!(about.what, What::Class(_) | What::Responses | What::Status(_));
            if !is_response {
                return Err(word.wrong("only a response is one `for` a method", None));
            }
            about.answers = Some(method_of(method)?);
        } else if words.skip("of") {
            about.of = Some(words.take("a user")?.text.clone());
        } else if word.is("from") || word.is("to") {
            let way = if word.is("from") { Direction::Received } else { Direction::Sent };
            words.next += 1;
            if direction.is_some_and(|direction| direction != way) || about.peer.is_some() {
                return Err(word.wrong("a message is received `from` or sent `to` one", None));
            }
            direction = Some(way);
            about.peer = Some(words.take("a node or user")?.text.clone());
        } else {
            break;
        }
    }
    let usual = match &about.what {
        What::Class(_) | What::Responses | What::Status(_) => Direction::Sent,
        What::Command(command) if command.ends_with('A') => Direction::Sent,
        _ => Direction::Received,
    };
    about.direction = direction.unwrap_or(usual);
    Ok(())
}

fn what(word: &Word) -> Result<What, Mistake> {
    let text = word.text.as_str();
    Ok(match text {
        "anything" => What::Anything,
        "keep-alives" => What::KeepAlives,
        "requests" => What::Requests,
        "responses" => What::Responses,
        _ => {
            if let Some(command) = COMMANDS.into_iter().find(|command| *command == text) {
                return Ok(What::Command(command));
            }
            if let Some(class) = text.strip_suffix("xx") {
                let class = class.parse().ok().filter(|class| (1..=6).contains(class));
                let class =
                    class.ok_or_else(|| word.wrong("classes of responses are 1xx to 6xx", None))?;
                return Ok(What::Class(class));
            }
            if text.starts_with(|first: char| first.is_ascii_digit()) {
                let status = text.parse().ok().filter(|status| (100..700).contains(status));
                return status.map(What::Status).ok_or_else(|| {
                    word.wrong(format!("`{text}` is no status from 100 to 699"), None)
                });
            }
            What::Method(method_of(word)?)
        }
    })
}

/// A method: a known one, or any in capitals that is not nearly a known one.
fn method_of(word: &Word) -> Result<String, Mistake> {
    let text = word.text.as_str();
    let capitals = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if METHODS.contains(&text) {
        return Ok(text.to_owned());
    }
    let others = ["anything", "keep-alives", "requests", "responses"];
    let near = nearest(text, METHODS.into_iter().chain(COMMANDS).chain(others));
    match near {
        None if capitals => Ok(text.to_owned()),
        Some(near) if text.len() > 3 || !capitals => {
            let help = Some(format!("did you mean `{near}`?"));
            Err(word.wrong(format!("`{text}` is no message"), help))
        }
        _ if capitals => Ok(text.to_owned()),
        _ => {
            let help = "write a method, a status, 4xx, or a Diameter command".to_owned();
            Err(word.wrong(format!("`{text}` is no message"), Some(help)))
        }
    }
}

fn sdp_line(words: &mut Cursor<'_>) -> Result<bool, Mistake> {
    let found = words.skip("SDP");
    if found {
        words.must(&["line"])?;
    }
    Ok(found)
}

/// A line of SDP, or its beginning: `x=…`.
fn line(words: &mut Cursor<'_>) -> Result<String, Mistake> {
    let word = words.take("a line of SDP in quotation marks")?;
    let mut bytes = word.text.bytes();
    match (bytes.next(), bytes.next()) {
        (Some(kind), Some(b'=')) if kind.is_ascii_lowercase() => Ok(word.text.clone()),
        _ => Err(word.wrong("a line of SDP is e.g. `a=sendrecv`", None)),
    }
}

/// The name of a header.
fn header(words: &mut Cursor<'_>) -> Result<String, Mistake> {
    let (word, (name, parameter)) = (words.peek(), header_part(words)?);
    match (word, parameter) {
        (Some(word), Some(_)) => Err(word.wrong("a parameter is not added: write `sets`", None)),
        _ => Ok(name),
    }
}

/// The name of a header, with a parameter behind a semicolon or without.
fn header_part(words: &mut Cursor<'_>) -> Result<(String, Option<String>), Mistake> {
    let word = words.take("a header")?;
    let (name, parameter) = match word.text.split_once(';') {
        Some((name, parameter)) => (name, Some(parameter)),
        None => (word.text.as_str(), None),
    };
    if !is_token(name) || parameter.is_some_and(|parameter| !is_token(parameter)) {
        let help = Some("write `Header` or `Header;parameter`".to_owned());
        return Err(word.wrong(format!("`{}` is no name of a header", word.text), help));
    }
    Ok((name.to_owned(), parameter.map(str::to_owned)))
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// What stands behind a comma.
fn qualifier(words: &mut Cursor<'_>, when: &mut When, about: &mut About) -> Result<(), Mistake> {
    const KNOWN: [&str; 7] = ["first", "second", "third", "in", "after", "until", "if"];
    let word =
        words.take("`first`, `in 20%`, `after 5s`, `until 30s` or `if …` behind the comma")?;
    match word.text.as_str() {
        "first" => {
            let number = words.peek().map(|_| words.take("a number")).transpose()?;
            when.count = Count::First(number.map_or(Ok(1), number_of)?);
        }
        "second" => when.count = Count::Nth(2),
        "third" => when.count = Count::Nth(3),
        "in" => {
            let word = words.take("a percentage, e.g. 20%")?;
            when.chance = Some(percent(word)?);
        }
        "after" => when.after = words.time()?,
        "until" => when.until = Some(words.time()?),
        "if" => about.conditions.push(condition(words)?),
        text => {
            let number = ["st", "nd", "rd", "th"].iter().find_map(|end| text.strip_suffix(end));
            let number = number.and_then(|number| number.parse().ok()).filter(|it| *it > 0);
            when.count = Count::Nth(number.ok_or_else(|| {
                let help = match nearest(text, KNOWN) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "there is: first N, second, 3rd, in 20%, after 5s, until 30s, if …"
                        .to_owned(),
                };
                word.wrong(format!("`{text}` is not understood behind a comma"), Some(help))
            })?);
        }
    }
    words.end()
}

fn number_of(word: &Word) -> Result<u32, Mistake> {
    let number = word.text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| word.wrong(format!("`{}` is no number above 0", word.text), None))
}

/// A percentage in thousandths.
fn percent(word: &Word) -> Result<u32, Mistake> {
    let wrong = || word.wrong(format!("`{}` is no percentage, e.g. 20%", word.text), None);
    let text = word.text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenth: u32 = tenth.parse().ok().filter(|tenth| *tenth < 10).ok_or_else(wrong)?;
    Some(whole * 10 + tenth).filter(|it| whole <= 100 && *it <= 1_000).ok_or_else(wrong)
}

fn condition(words: &mut Cursor<'_>) -> Result<Condition, Mistake> {
    let (name, parameter) = header_part(words)?;
    let verb = words.take("`is`, `contains`, `lacks` or `matches`")?;
    let value = words.take("what it must be")?;
    let text = value.text.clone();
    let matching = match verb.text.as_str() {
        "is" if value.is("absent") => Matching::Absent,
        "is" if value.is("present") => Matching::Present,
        "is" => Matching::Is(text),
        "contains" => Matching::Contains(text),
        "lacks" => Matching::Lacks(text),
        "matches" => {
            let bare = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
            let pattern = bare.unwrap_or(&text);
            let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
            Matching::Matches(regex.map_err(|_| value.wrong("this is no expression", None))?)
        }
        other => {
            let known = ["is", "contains", "lacks", "matches"];
            let help = nearest(other, known).map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| Some(format!("there is: {}", known.join(", "))));
            return Err(verb.wrong(format!("`{other}` is no condition"), help));
        }
    };
    Ok(Condition { name, parameter, matching })
}

/// Puts the headers below a sentence where they belong.
fn take_headers(action: &mut Action, headers: &[(String, String)]) -> Result<(), String> {
    for (name, value) in headers {
        match action {
            Action::Answer(answer) if name == "body" => answer.body.clone_from(value),
            Action::Answer(answer) if is_token(name) => {
                answer.headers.push((name.clone(), value.clone()));
            }
            Action::Answer(_) => return Err(format!("`{name}` is no name of a header")),
            Action::Overload(seconds) if name == "Retry-After" => {
                *seconds =
                    value.parse().map_err(|_| format!("`{value}` is no number of seconds"))?;
            }
            _ => return Err(format!("only an answer has headers of its own, not `{name}`")),
        }
    }
    if let Action::Answer(answer) = action
        && !answer.body.is_empty()
        && !answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type"))
    {
        let kind = match answer.body.as_bytes() {
            [b'v', b'=', ..] => "application/sdp",
            [b'<', ..] => "application/3gpp-ims+xml",
            _ => "text/plain",
        };
        answer.headers.push(("Content-Type".to_owned(), kind.to_owned()));
    }
    Ok(())
}

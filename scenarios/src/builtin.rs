//! The scenarios that ship with the program, compiled in so that the binary works alone. The list
//! is what `build.rs` finds in the folders.

/// A built-in scenario.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name `cscf run` takes.
    pub name: &'static str,
    /// The file in the source tree, for error texts.
    pub file: &'static str,
    /// Its text.
    pub source: &'static str,
}

/// All of them, in the order of folders and names.
pub const ALL: &[Builtin] = include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// The built-in scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::read_scenario;

    #[test]
    fn every_file_is_compiled_in_once_and_reads_without_a_mistake() {
        let mut names: Vec<&str> = ALL.iter().map(|builtin| builtin.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "two files of one name");
        for file in ["call/volte-call", "message/message", "register/register-aka"] {
            let path = format!("scenarios/{file}.yaml");
            assert!(ALL.iter().any(|builtin| builtin.file == path), "{path}");
        }
        for builtin in ALL {
            if let Err(problems) = read_scenario(builtin.source, "ims.example") {
                panic!("{}: {problems:?}", builtin.file);
            }
        }
    }
}

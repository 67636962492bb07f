//! The grammar, what a rule fits, and what each change does to a message.

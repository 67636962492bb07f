//! `instructions OPERATION COUNT` does an operation so often, for a counter of instructions around
//! it: the difference of two counts is the operation's alone. Without arguments it lists them.

#![allow(clippy::print_stdout, reason = "it is a program")]
#![allow(unused_crate_dependencies, reason = "those of the tests")]

mod operations;

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut all = operations::all();
    let [name, count] = args.as_slice() else {
        all.iter().for_each(|it| println!("{}", it.name));
        return Ok(());
    };
    let count: u32 = count.parse().map_err(|_| "instructions OPERATION COUNT")?;
    let chosen = all.iter_mut().find(|it| it.name == name).ok_or("no such operation")?;
    (0..count).for_each(|_| (chosen.run)());
    Ok(())
}

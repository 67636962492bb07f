//! The operations of `operations.rs` by time: `cargo bench -p cscf-tests --features micro`.

#![allow(unused_crate_dependencies, reason = "those of the tests")]

mod operations;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for mut operation in operations::all() {
        criterion.bench_function(operation.name, |bencher| bencher.iter(|| (operation.run)()));
    }
    criterion.final_summary();
}

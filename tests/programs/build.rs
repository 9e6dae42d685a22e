//! Links every program at the fixed user addresses of `program.ld`, without symbols.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder");
    println!("cargo:rerun-if-changed=program.ld");
    println!("cargo:rustc-link-arg-bins=-T{folder}/program.ld");
    for option in ["--strip-all", "--no-dynamic-linker", "-z", "max-page-size=4096"] {
        println!("cargo:rustc-link-arg-bins={option}");
    }
}

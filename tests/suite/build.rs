//! Links the test image like the kernel's own.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let script = format!("{folder}/../../linker.ld");
        println!("cargo:rerun-if-changed={script}");
        println!("cargo:rustc-link-arg-tests=-T{script}");
        println!("cargo:rustc-link-arg-tests=-zmax-page-size=4096");
    }
}

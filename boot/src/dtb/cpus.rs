//! The CPUs, and how each is started.

use dtoolkit::Node;
use dtoolkit::fdt::FdtNode;

use super::node::{bytes, is_enabled, number};
use super::{CpuNode, EnableMethod, List, MAX_CPUS};

/// The enabled CPUs below `/cpus`, as many as the list holds.
///
/// A CPU whose `status` is not okay is left out: on machines whose firmware starts CPUs, a
/// secondary one may be marked disabled until then, and is ignored here.
pub(super) fn read(root: &FdtNode<'_>) -> List<CpuNode, MAX_CPUS> {
    let mut list = List::new();
    let Some(parent) = root.children().find(|n| n.name_without_address() == "cpus") else {
        return list;
    };
    let cpus = parent.children().filter(|node| node.name_without_address() == "cpu");
    for node in cpus.filter(is_enabled) {
        let Some(reg) = bytes(&node, "reg").filter(|reg| matches!(reg.len(), 4 | 8)) else {
            continue;
        };
        let cpu = CpuNode { affinity: number(reg), enable: enable_method(&node) };
        if list.push(cpu).is_err() {
            break;
        }
    }
    list
}

fn enable_method(node: &FdtNode<'_>) -> Option<EnableMethod> {
    match bytes(node, "enable-method")? {
        b"psci\0" => Some(EnableMethod::Psci),
        b"spin-table\0" => {
            let release = bytes(node, "cpu-release-addr")?;
            let release = matches!(release.len(), 4 | 8).then(|| number(release))?;
            // The boot protocol: naturally aligned.
            release.is_multiple_of(8).then_some(EnableMethod::SpinTable { release })
        }
        _ => None,
    }
}

//! What must hold for any bytes that are read as a device tree: the body of the fuzz target.

use boot::dtb::{Bcm2711, DtbError, EnableMethod, Span, Summary, total_size};

/// Does with `data` what the kernel does with the memory at x0, and checks that it ends in a valid
/// summary or in an error with a message.
///
/// # Panics
/// If it does not.
pub fn survives(data: &[u8]) -> Result<(), String> {
    let told = |error: DtbError<'_>| {
        let text = error.to_string();
        assert!(!text.is_empty(), "{error:?} has no message");
        text
    };
    let start = data.first_chunk().ok_or("shorter than a magic number and a size")?;
    let size = total_size(*start).map_err(told)?;
    // After a tree that is too short there is other memory.
    let mut blob = data.to_vec();
    blob.resize(size, 0);
    let summary = Summary::read(&blob).map_err(told)?;
    assert!(!format!("{summary:?}").is_empty());
    assert!(summary.extent(&blob) <= size);
    is_sound(&summary);
    Ok(())
}

/// What the rest of the kernel relies on.
fn is_sound(summary: &Summary<'_>) {
    let holds_addresses = |span: Span| {
        assert!(span.size > 0 && span.base.checked_add(span.size).is_some(), "{summary:?}");
    };
    assert!(!summary.memory.is_empty());
    summary.memory.iter().copied().for_each(holds_addresses);
    summary.memreserve.iter().copied().for_each(holds_addresses);
    summary.reserved.iter().for_each(|reserved| holds_addresses(reserved.span));
    summary.initrd.into_iter().for_each(holds_addresses);
    let gic = summary.gic.into_iter().flat_map(|gic| gic.parts().map(|(_, at)| at));
    let uarts = summary.uarts.iter().map(|uart| uart.registers);
    let Bcm2711 { gpio, power } = summary.bcm2711;
    for registers in gic.chain(uarts).chain(gpio).chain(power) {
        assert!(registers.base.checked_add(registers.size).is_some(), "{summary:?}");
        let (start, end) = (registers.base, registers.end());
        assert!(summary.memory.iter().all(|ram| ram.end() <= start || end <= ram.base));
    }
    for interrupt in [summary.virtual_timer, summary.physical_timer].into_iter().flatten() {
        assert!((16..32).contains(&interrupt), "{interrupt} belongs to no single CPU");
    }
    for cpu in summary.cpus.iter() {
        if let Some(EnableMethod::SpinTable { release }) = cpu.enable {
            assert!(release.is_multiple_of(8), "{release:#x} cannot be written at once");
        }
    }
}

//! The divisors between a UART's clock and its baud rate. Pure arithmetic.
//!
//! The sources are the PL011's Technical Reference Manual (Arm DDI 0183, "UARTFBRD") and
//! Broadcom's BCM2711 ARM Peripherals, "Mini UART".

/// The integer and the fractional part, in 64ths, of a PL011's divisor: its clock over sixteen
/// times the rate. `None` if no divisor makes that rate.
pub fn pl011(clock: u32, baud: u32) -> Option<(u32, u32)> {
    let parts = (u64::from(clock) * 4 + u64::from(baud) / 2).checked_div(u64::from(baud))?;
    let (integer, fraction) = (parts / 64, parts % 64);
    // 65,535 is the largest, and has no fraction.
    let fits = (1..0xffff).contains(&integer) || (integer, fraction) == (0xffff, 0);
    fits.then_some((integer as u32, fraction as u32))
}

/// The divisor of a mini-UART: its clock over eight times the rate, less one.
pub fn mini(clock: u32, baud: u32) -> Option<u32> {
    let bit = u64::from(baud) * 8;
    let divisor = (u64::from(clock) + bit / 2).checked_div(bit)?.checked_sub(1)?;
    u16::try_from(divisor).ok().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_clocks_give_the_divisors_that_everybody_uses() {
        assert_eq!(pl011(48_000_000, 115_200), Some((26, 3)));
        assert_eq!(pl011(24_000_000, 115_200), Some((13, 1)));
        assert_eq!(mini(250_000_000, 115_200), Some(270));
        assert_eq!(mini(500_000_000, 115_200), Some(542));
    }

    #[test]
    fn the_rate_is_within_a_hundredth_of_what_was_asked() {
        for baud in [9600, 57_600, 115_200, 230_400] {
            for clock in [48_000_000, 250_000_000, 500_000_000_u32] {
                let near = |rate: f64| (rate / f64::from(baud) - 1.0).abs() < 0.01;
                let (integer, fraction) = pl011(clock, baud).unwrap();
                let divisor = f64::from(integer) + f64::from(fraction) / 64.0;
                assert!(near(f64::from(clock) / 16.0 / divisor), "{clock} {baud}");
                let divisor = mini(clock, baud).unwrap() + 1;
                assert!(near(f64::from(clock) / 8.0 / f64::from(divisor)), "{clock} {baud}");
            }
        }
    }

    #[test]
    fn a_rate_that_cannot_be_made_is_none() {
        assert_eq!((pl011(48_000_000, 0), mini(48_000_000, 0)), (None, None));
        assert_eq!((pl011(100, 115_200), mini(100, 115_200)), (None, None));
        assert_eq!((pl011(u32::MAX, 1), mini(u32::MAX, 1)), (None, None));
    }
}

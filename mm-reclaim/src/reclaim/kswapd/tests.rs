//! The call of kswapd in one word.

use super::Call;
use crate::base::units::Order;
use crate::zone::ZoneId;

/// CTRL-01: encoding keeps a call, and its word is never zero; a class beyond the last decodes as
/// the highest.
#[test]
fn a_call_survives_its_word() {
    for class in ZoneId::ALL {
        for order in Order::all() {
            let call = Call { order, class };
            assert_ne!(call.encode(), 0);
            assert_eq!(Call::decode(call.encode()), Some(call));
        }
    }
    assert_eq!(Call::decode(0), None, "there is no call");
    let beyond = Call::decode(9 << 8).map(|call| call.class);
    assert_eq!(beyond, Some(ZoneId::Normal));
}

/// CTRL-01: two calls become one that serves both.
#[test]
fn two_calls_join_to_one_that_serves_both() {
    let call = |order, class| Call { order: Order::new(order).expect("an order"), class };
    let (wide, deep) = (call(3, ZoneId::Dma), call(0, ZoneId::Normal));
    assert_eq!(wide.join(deep), call(3, ZoneId::Normal));
    assert_eq!(deep.join(wide), call(3, ZoneId::Normal));
}

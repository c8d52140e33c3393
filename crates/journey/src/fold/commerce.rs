//! Carts, orders and contracts.

use event::{Contract, CustomerValue, Decimal, Event, Millis, Product};

use super::read::{amount, moment, number, string};
use crate::Journey;

const CART: usize = 50;
const FEW: usize = 16;

pub(super) fn orders(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let profile = &mut journey.profile;
    match event.kind.as_str() {
        "cart.product_added" => {
            if let Some(id) = string(event, "cart_id") {
                profile.cart_id = Some(id.to_owned());
            }
            for item in products(event) {
                let known = profile
                    .cart
                    .iter()
                    .position(|known| known.product_id == item.product_id);
                match known {
                    Some(index) => profile.cart[index].quantity += item.quantity,
                    None if profile.cart.len() < CART => profile.cart.push(item),
                    None => {}
                }
            }
            value_of_cart(journey);
        }
        "cart.product_removed" => {
            for item in products(event) {
                if let Some(index) = profile
                    .cart
                    .iter()
                    .position(|known| known.product_id == item.product_id)
                {
                    profile.cart[index].quantity -= item.quantity;
                    if profile.cart[index].quantity <= 0.0 {
                        profile.cart.remove(index);
                    }
                }
            }
            value_of_cart(journey);
        }
        "order.completed" => {
            let value = profile.value.get_or_insert_with(CustomerValue::default);
            value.orders = value.orders.saturating_add(1);
            value.last_order_at = Some(now);
            if let Some(currency) = string(event, "currency") {
                if value.currency.is_empty() {
                    currency.clone_into(&mut value.currency);
                }
                // Sums of two currencies mean nothing; the first one seen is kept.
                if value.currency == currency
                    && let Some(amount) = amount(event, "value")
                {
                    let sum = value.lifetime.unwrap_or_default().0.saturating_add(amount.0);
                    value.lifetime = Some(Decimal(sum));
                }
            }
            value.cart = None;
            profile.cart.clear();
            profile.cart_id = None;
        }
        _ => {}
    }
    event.kind == "order.completed"
}

pub(super) fn products(event: &Event) -> Vec<Product> {
    let counted = |mut item: Product| {
        if item.quantity <= 0.0 {
            item.quantity = 1.0;
        }
        item
    };
    if !event.items.is_empty() {
        return event.items.iter().cloned().map(counted).collect();
    }
    let Some(product_id) = string(event, "product_id") else {
        return Vec::new();
    };
    let item = Product {
        product_id: product_id.to_owned(),
        name: string(event, "name").map(ToOwned::to_owned),
        category: string(event, "category").map(ToOwned::to_owned),
        price: amount(event, "price"),
        currency: string(event, "currency").map(ToOwned::to_owned),
        quantity: number(event, "quantity").unwrap_or(1.0),
        ..Product::default()
    };
    vec![counted(item)]
}

pub(crate) fn value_of_cart(journey: &mut Journey) {
    let priced = journey
        .profile
        .cart
        .iter()
        .filter_map(|item| Some((item.price?.to_f64(), item.quantity, item.currency.clone())));
    let (mut sum, mut currency) = (0.0, None);
    for (price, quantity, of) in priced {
        sum += price * quantity;
        currency = of.or(currency);
    }
    let value = journey.profile.value.get_or_insert_with(CustomerValue::default);
    value.cart = Decimal::from_f64(sum).filter(|sum| sum.0 > 0);
    if let (true, Some(currency)) = (value.currency.is_empty(), currency) {
        value.currency = currency;
    }
}

pub(super) fn contracts(journey: &mut Journey, event: &Event) -> bool {
    let status = match event.kind.as_str() {
        "contract.started" | "contract.renewed" => "active",
        "renewal.due" => "due",
        "cancellation.requested" => "cancelling",
        "cancellation.confirmed" => "cancelled",
        "contract.downgraded" => "active",
        _ => return false,
    };
    let Some(id) = string(event, "contract_id") else {
        return false;
    };
    let contracts = &mut journey.profile.contracts;
    if !contracts.iter().any(|known| known.contract_id == id) {
        if contracts.len() >= FEW {
            contracts.remove(0);
        }
        contracts.push(Contract {
            contract_id: id.to_owned(),
            ..Contract::default()
        });
    }
    if let Some(known) = contracts.iter_mut().find(|known| known.contract_id == id) {
        status.clone_into(&mut known.status);
        known.ends_at = moment(event, "ends_at").or(known.ends_at);
        if event.kind == "contract.started" {
            known.started_at = Some(event.time);
        }
        known.monthly = amount(event, "monthly").or(known.monthly);
        known.currency = string(event, "currency")
            .map(ToOwned::to_owned)
            .or(known.currency.take());
        known.product = string(event, "product").map(ToOwned::to_owned).or(known.product.take());
    }
    let running = contracts.iter().filter(|known| known.status != "cancelled");
    journey.profile.renewal_date = running.filter_map(|known| known.ends_at).min();
    true
}

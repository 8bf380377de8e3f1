"""SMSPVA's rental API and account balance in memory, for tests and demos.

The simulator follows the provider's rental page, observations of the live server, and the contract in the provider's
own SDK. It shares no code with the client: a fake that shares tables with the client would share its mistakes.

    sim = Simulator(seed=1, dialect="live")
    client = SmspvaClient("any", transport=sim.transport())
    order = sim.add_order(country="RU", service="opt16")
    sim.deliver(order.id, "Code Instagram: 671 094.", sender="Instagram")
    sim.faults.next("orders", "html")

A `Simulator` is also an ASGI app, so any ASGI server can serve it.
"""

from smspva_async.simulator._behavior import Behavior, MultiOrders, RateLimitAnswer, RefusalForm, SmsOrder, UntilText
from smspva_async.simulator._catalogue import Activation, Country, Offer
from smspva_async.simulator._dialects import DialectName
from smspva_async.simulator._faults import AnyMethod, ClientMethodName, Fault, FaultName, Faults
from smspva_async.simulator._methods import MethodName
from smspva_async.simulator._orders import Message, SimulatedOrder
from smspva_async.simulator._refusals import RestoreRefusal
from smspva_async.simulator._server import RecordedRequest
from smspva_async.simulator._simulator import Simulator
from smspva_async.simulator._transport import SimulatorTransport
from smspva_async.simulator.virtual_time import VirtualTimeLoop

__all__ = [
    "Activation",
    "AnyMethod",
    "Behavior",
    "ClientMethodName",
    "Country",
    "DialectName",
    "Fault",
    "FaultName",
    "Faults",
    "Message",
    "MethodName",
    "MultiOrders",
    "Offer",
    "RateLimitAnswer",
    "RecordedRequest",
    "RefusalForm",
    "RestoreRefusal",
    "SimulatedOrder",
    "Simulator",
    "SimulatorTransport",
    "SmsOrder",
    "UntilText",
    "VirtualTimeLoop",
]

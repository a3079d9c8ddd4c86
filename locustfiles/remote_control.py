r"""Operators start and stop transactions from afar while the fleet runs.

    locust -f locustfiles/remote_control.py --host ws://localhost:8080/ocpp --users 1000 \\
        --operator-api http://localhost:8081

One of the users is an operator, who sends commands through the central system's API. The type `REMOTE` has three
rows for each of them, all from the call of the API: until the charge point had the command, until the API returned its
answer, and until the charge point sent what the command leads to. An operator sees the charge points of its own
worker; with several workers, have as many operators (`fixed_count`), and some more to be sure that each has one.

Another back end plugs in with a class like `CentralSystemApi` (ampswarm/load/operator_api.py), which
`Operator.open_api` then returns.
"""

from locust import constant_pacing, task

from ampswarm.charge_point.station import ChargePoint as Station
from ampswarm.load import ChargePointUser, OperatorUser


class ChargePoint(ChargePointUser):
    """An EV waits for its operator's word, charges, and makes room for the next one."""

    @task
    def serve(self) -> None:
        """Serve one EV."""
        self.plug_in()
        self.wait_until(lambda: self.transaction() is not None, float("inf"))
        self.wait_until(lambda: self.transaction() is None, float("inf"))
        self.unplug()
        self.sleep(1)


def transaction_of(station: Station) -> int | None:
    """Return the id of the transaction that runs there; `None` without one, or before it is known."""
    running = (each.transaction for each in station.connectors or () if each.transaction is not None)
    return next((each.transaction_id for each in running), None)


class Operator(OperatorUser):
    """Sends three commands each second, to charge points picked by chance."""

    fixed_count = 1
    wait_time = constant_pacing(1)

    @task
    def work(self) -> None:
        """Start a transaction where an EV is plugged in, stop one that runs, and ask for a status."""
        waiting = self.find(lambda each: each.may_charge and not each.has_transactions())
        if waiting is not None:
            payload: dict[str, object] = {"idTag": "OPERATOR", "connectorId": 1}
            self.command(waiting.identity, "RemoteStartTransaction", payload, effect="StartTransaction")
        charging = self.find(lambda each: transaction_of(each) is not None)
        if charging is not None:
            payload = {"transactionId": transaction_of(charging)}
            self.command(charging.identity, "RemoteStopTransaction", payload, effect="StopTransaction")
        anybody = self.find()
        if anybody is not None:
            payload = {"requestedMessage": "StatusNotification", "connectorId": 1}
            self.command(anybody.identity, "TriggerMessage", payload, effect="StatusNotification")

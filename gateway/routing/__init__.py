"""Which engine answers: the fleet, its health, and a bounded, fair line for a place."""

from gateway.routing.discovery import Discovery
from gateway.routing.fleet import Fleet
from gateway.routing.holds import Holds
from gateway.routing.member import Member
from gateway.routing.place import Place
from gateway.routing.watcher import FleetWatcher

__all__ = ["Discovery", "Fleet", "FleetWatcher", "Holds", "Member", "Place"]

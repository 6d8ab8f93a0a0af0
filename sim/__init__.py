"""A site in software: meters that speak the real protocols over real links, with a known truth and faults to order.

``world`` is what truly flows; ``instrument`` what a meter makes of it; ``laboratory`` what a certificate says
of the meter; ``dlt645_meter``, ``modbus_meter``, ``modbus_tcp`` how it answers; ``halfduplex`` and ``line``
how that gets onto a wire; ``faults`` what goes wrong; ``site`` puts a plant together, ``demo`` one to look
at.
"""

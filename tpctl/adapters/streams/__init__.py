"""Market and user streams: supervised sockets (`socket`), the live feed (`feed`), the step-by-step one (`lockstep`)."""

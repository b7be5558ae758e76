# shellcheck shell=bash
# What `help` prints.

usage() {
    if [ "$LLMO_SPEAKS" = pl ]; then usage_pl; else usage_en; fi
}

usage_en() {
    cat <<'TEXT'
usage: ./run_microservices.sh VERB [--docker | --process]

  build                  install what is missing and compile (containers: make the image)
  run                    build what is missing, start the stack, print the URLs
      --mono             processes: everything in one
      --traefik          containers: Traefik as the edge
      --monitoring       with Prometheus, Alertmanager and exporters (containers: and Grafana)
      --s3               containers: with a bucket of our own
  stop                   stop it; running streams may finish
  restart                stop and run, with as many services and with what else ran
  update [SERVICE…]      replace services one by one by what was built meanwhile; no request fails
                         (the gateway too behind Traefik; else only if named, and it is away for a moment)
  status                 what runs, and how it is
  scale SERVICE=NUMBER   so many of a service, e.g. model-service=3
  logs [SERVICE…]        follow the logs, merged by time: gateway, model-service, cache-service, storage-service
      --request ID       only what is about this request (its x-request-id)
  test                   the whole test suite, then a smoke test of a stack that it starts
                         (--docker: real containers, from building to stopping)
      --smoke            only ask the stack that runs now; nothing is compiled
  doctor                 what is wrong here, and the cure (--json)
  clean                  stop, and remove logs and state (containers: also volumes, with the models, and images)

Processes or containers: as said; else what runs. Where nothing runs, run, restart and build take containers if an
engine and the image are there, and the other verbs take processes.
Settings: environment or .env, e.g. API_PORT=8000 ./run_microservices.sh run
          (see .env.example; all settings: target/release/llmo config print)
TEXT
}

usage_pl() {
    cat <<'TEXT'
użycie: ./run_microservices.sh POLECENIE [--docker | --process]

  build                  zainstaluj, czego brakuje, i skompiluj (kontenery: zbuduj obraz)
  run                    zbuduj, czego brakuje, uruchom stos, wypisz adresy
      --mono             procesy: wszystko w jednym
      --traefik          kontenery: Traefik na brzegu
      --monitoring       z Prometheusem, Alertmanagerem i eksporterami (kontenery: także z Grafaną)
      --s3               kontenery: z własnym magazynem S3
  stop                   zatrzymaj; trwające odpowiedzi mogą się dokończyć
  restart                zatrzymaj i uruchom tyle samo usług i to, co działało obok nich
  update [USŁUGA…]       wymień usługi po kolei na nowo zbudowane; żadne żądanie nie ucierpi
                         (bramę też, za Traefikiem; inaczej tylko wymienioną z nazwy, i na chwilę zniknie)
  status                 co działa i w jakim jest stanie
  scale USŁUGA=LICZBA    tyle sztuk usługi, np. model-service=3
  logs [USŁUGA…]         pokazuj logi według czasu: gateway, model-service, cache-service, storage-service
      --request ID       tylko o tym żądaniu (jego x-request-id)
  test                   wszystkie testy, potem próba stosu, który sam uruchamia
                         (--docker: prawdziwe kontenery, od budowy do zatrzymania)
      --smoke            tylko zapytaj stos, który teraz działa; nic się nie kompiluje
  doctor                 co tu jest nie tak i jak to naprawić (--json)
  clean                  zatrzymaj i usuń logi i stan (kontenery: także wolumeny z modelami i obrazy)

Procesy czy kontenery: jak podano; inaczej to, co działa. Gdy nic nie działa, run, restart i build wybierają kontenery,
jeśli są silnik i obraz, a pozostałe polecenia procesy.
Ustawienia: środowisko lub .env, np. API_PORT=8000 ./run_microservices.sh run
            (zobacz .env.example; wszystkie: target/release/llmo config print)
TEXT
}

# shellcheck shell=bash
# What the scripts say, in Polish. A text is known by its English form; one that is not here is said in English.

# t FORMAT [VALUE…]: the text in the user's language. Without values the text is taken as it stands.
t() {
    local text=$1
    shift
    if [ "$LLMO_SPEAKS" = pl ]; then text=${POLISH[$text]:-$text}; fi
    # shellcheck disable=SC2059  # formats are ours
    if [ $# -gt 0 ]; then printf "$text" "$@"; else printf '%s' "$text"; fi
}

case ${LLMO_LANG:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}} in
    pl | pl_* | pl.* | pl-*) LLMO_SPEAKS=pl ;;
    *) LLMO_SPEAKS=en ;;
esac

declare -gA POLISH=(
    ["error:"]="błąd:"
    ["Building (the first time takes about ten minutes: llama.cpp is compiled for this machine)"]="Kompilacja (za pierwszym razem około dziesięciu minut: llama.cpp kompiluje się dla tej maszyny)"
    ["the build failed"]="kompilacja nie powiodła się"
    ["its messages are above; 'cargo build --release' repeats it"]="komunikaty są powyżej; 'cargo build --release' ją powtórzy"
    ["its messages are above"]="komunikaty są powyżej"
    ["unknown verb '%s'"]="nieznane polecenie '%s'"
    ["unknown option '%s' for run"]="nieznana opcja '%s' polecenia run"
    ["options: --docker --process --mono --traefik --monitoring --s3"]="opcje: --docker --process --mono --traefik --monitoring --s3"
    ["unknown service '%s'"]="nieznana usługa '%s'"
    ["services: %s"]="usługi: %s"
    ["Already running"]="Już działa"
    ["already running: %s"]="już działa: %s"
    ["stop it first: ./run_microservices.sh stop"]="najpierw zatrzymaj: ./run_microservices.sh stop"
    ["Starting %s (logs: ./run_microservices.sh logs)"]="Uruchamiam: %s (logi: ./run_microservices.sh logs)"
    ["Starting the containers (logs: ./run_microservices.sh logs)"]="Uruchamiam kontenery (logi: ./run_microservices.sh logs)"
    ["the models could not be fetched"]="nie udało się pobrać modeli"
    ["the reason is above"]="przyczyna jest powyżej"
    ["the gateway is starting"]="brama się uruchamia"
    ["waiting: %s"]="czekam: %s"
    ["%s does not start; its last lines are above"]="%s nie uruchamia się; ostatnie linie są powyżej"
    ["all of them: %s"]="wszystkie: %s"
    ["the stack is not ready after %s s: %s"]="stos nie jest gotowy po %s s: %s"
    ["look at the logs: ./run_microservices.sh logs"]="zajrzyj do logów: ./run_microservices.sh logs"
    ["llmo is ready."]="llmo jest gotowe."
    ["also OpenAI's"]="także w postaci OpenAI"
    ["Dashboard"]="Panel    "
    ["stop it:"]="zatrzymaj:"
    ["Stopped %s"]="Zatrzymano: %s"
    ["Nothing was running"]="Nic nie działało"
    ["Nothing runs (start it: ./run_microservices.sh run)"]="Nic nie działa (uruchom: ./run_microservices.sh run)"
    ["SERVICE"]="USŁUGA"
    ["STATE"]="STAN"
    ["RESTARTS"]="RESTARTY"
    ["HEALTH"]="ZDROWIE"
    ["does not answer"]="nie odpowiada"
    ["no logs yet"]="nie ma jeszcze logów"
    ["start the stack: ./run_microservices.sh run"]="uruchom stos: ./run_microservices.sh run"
    ["Scaled %s"]="Zmieniono liczbę: %s"
    ["Updated %s"]="Wymieniono: %s"
    ["gateway.upstreams or discovery.file says which model services there are"]="o tym, jakie są usługi modelu, mówi gateway.upstreams lub discovery.file"
    ["add them there, or unset it"]="dopisz je tam albo usuń to ustawienie"
    ["several gateways need Traefik in front of them: they cannot all have one port"]="kilka bram wymaga Traefika przed nimi: nie mogą wszystkie mieć jednego portu"
    ["without Traefik the gateway is away for a moment: its port can be held by one only"]="bez Traefika brama na chwilę znika: port może trzymać tylko jedna"
    ["'%s' cannot be scaled"]="'%s' nie można skalować"
    ["'%s' is no number of services"]="'%s' nie jest liczbą usług"
    ["scale model-service=3"]="scale model-service=3"
    ["there is no llmo for this machine"]="nie ma programu llmo dla tej maszyny"
    ["Removed logs and state; models and what was compiled are kept (llmo rm MODEL; rm -r target)"]="Usunięto logi i stan; modele i to, co skompilowano, zostają (llmo rm MODEL; rm -r target)"
    ["Removed containers, networks, volumes and the image"]="Usunięto kontenery, sieci, wolumeny i obraz"
    ["needed to %s and not found: %s (Debian's names)"]="potrzebne (%s), a brakuje: %s (nazwy pakietów Debiana)"
    ["install them with this system's package manager and run the same command again"]="zainstaluj je menedżerem pakietów tego systemu i powtórz polecenie"
    ["needed to %s and not installed: %s"]="potrzebne (%s), a niezainstalowane: %s"
    ["type this, then run the same command again:"]="wpisz to i powtórz polecenie:"
    ["Installing Debian packages to %s: %s"]="Instaluję pakiety Debiana (%s): %s"
    ["apt-get could not install: %s"]="apt-get nie zainstalował: %s"
    ["its last lines are above"]="ostatnie linie są powyżej"
    ["cargo is not installed"]="brakuje cargo"
    ["llmo is built with Rust 1.95 or newer: https://rustup.rs"]="llmo kompiluje się w Ruście 1.95 lub nowszym: https://rustup.rs"
    ["LLMO_MODE is '%s'"]="LLMO_MODE ma wartość '%s'"
    ["LLMO_MODE is docker or process"]="LLMO_MODE to docker albo process"
    ["no container engine answers"]="żaden silnik kontenerów nie odpowiada"
    ["no image registry can be reached: base images are made from Debian's packages"]="żaden rejestr obrazów nie jest osiągalny: obrazy bazowe powstają z pakietów Debiana"
    ["Building the image %s (the first time takes long: llama.cpp is compiled for every kind of processor)"]="Buduję obraz %s (za pierwszym razem to trwa: llama.cpp kompiluje się dla każdego rodzaju procesora)"
    ["the image could not be built"]="nie udało się zbudować obrazu"
    ["Built %s"]="Zbudowano %s"
    ["the containers did not become ready; the last lines are above"]="kontenery nie osiągnęły gotowości; ostatnie linie są powyżej"
    ["Fetching models: %s"]="Pobieram modele: %s"
    ["the hub can't be reached from containers: this machine fetches them"]="repozytorium modeli nie jest osiągalne z kontenerów: pobiera je ta maszyna"
    ["model %s could not be put into its volume"]="modelu %s nie udało się umieścić w wolumenie"
    ["the configuration is wrong"]="konfiguracja jest błędna"
    ["see above"]="zobacz powyżej"
    ["the containers could not be stopped"]="nie udało się zatrzymać kontenerów"
    ["In %s"]="W %s"
    ["Starting a container engine (%s)"]="Uruchamiam silnik kontenerów (%s)"
    ["the container engine did not start; its last lines are above"]="silnik kontenerów nie uruchomił się; ostatnie linie są powyżej"
    ["the container engine does not answer"]="silnik kontenerów nie odpowiada"
    ["no container engine runs, or this user may not use it"]="nie działa żaden silnik kontenerów albo ten użytkownik nie może go używać"
    ["python3 cannot make an environment in %s"]="python3 nie może utworzyć środowiska w %s"
    ["pip could not install %s"]="pip nie zainstalował %s"
)

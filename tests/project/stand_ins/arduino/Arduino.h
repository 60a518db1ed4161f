// Stands for an Arduino core: as much of it as the example asks for, on this computer, and one turn of the loop.
#include <cstdio>
#include <cstdlib>

void setup();
void loop();

inline unsigned long millis() { return 0; }
inline unsigned long micros() { return 0; }
inline void delay(unsigned long) {}

struct Port {
    explicit operator bool() const { return true; }
    void begin(unsigned long) {}
    void print(const char *text) { std::fputs(text, stdout); }
    void print(unsigned value) { std::printf("%u", value); }
    void println(unsigned long value) { std::printf("%lu\n", value); }
};
static Port Serial;

int main()
{
    setup();
    loop();
    return 0;
}

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>

#include "os/module.h"

#ifdef DLFO_STRUCT_HAS_EH_DBASE /* _dl_find_object() exists */

/* What an object exports, where the loader has placed it. */
struct exports {
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *hash, *gnu_hash; /* either gives the number of symbols */
};

/* The loader turns offsets into addresses in some objects, and leaves them in those that it cannot write to. */
static const void *address_in(const struct link_map *map, ElfW(Addr) value)
{
    return (const void *)(value < map->l_addr ? map->l_addr + value : value); /* NOLINT: a number in the file */
}

static struct exports exports_of(const struct link_map *map)
{
    struct exports exports = {NULL, NULL, NULL, NULL};

    for (const ElfW(Dyn) *entry = map->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
        const void *there = address_in(map, entry->d_un.d_ptr);

        if (entry->d_tag == DT_SYMTAB)
            exports.symbols = there;
        else if (entry->d_tag == DT_STRTAB)
            exports.names = there;
        else if (entry->d_tag == DT_HASH)
            exports.hash = there;
        else if (entry->d_tag == DT_GNU_HASH)
            exports.gnu_hash = there;
    }
    return exports;
}

/* The chains of GNU's table end with the last symbol, whose lowest bit is set. */
static uint32_t count_by_gnu_hash(const uint32_t *table)
{
    uint32_t buckets = table[0], first = table[1], words = table[2], last = 0;
    const uint32_t *bucket = table + 4 + words * (sizeof(ElfW(Addr)) / sizeof(uint32_t)), *chain = bucket + buckets;

    for (uint32_t i = 0; i < buckets; i++)
        last = bucket[i] > last ? bucket[i] : last;
    if (last < first)
        return first;
    while (!(chain[last - first] & 1))
        last++;
    return last + 1;
}

static uint32_t count_of(const struct exports *exports)
{
    if (!exports->symbols || !exports->names)
        return 0;
    if (exports->gnu_hash)
        return count_by_gnu_hash(exports->gnu_hash);
    return exports->hash ? exports->hash[1] : 0;
}

static bool object_holds(const ElfW(Sym) * symbol, size_t offset)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info); /* the same in both classes */

    return symbol->st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol->st_value <= offset &&
           offset - symbol->st_value < symbol->st_size;
}

static void find_name(const struct link_map *map, struct module_place *place)
{
    struct exports exports = exports_of(map);

    for (uint32_t i = 0, count = count_of(&exports); i < count && !place->name; i++)
        if (object_holds(&exports.symbols[i], place->offset)) {
            place->name = exports.names + exports.symbols[i].st_name;
            place->into = place->offset - exports.symbols[i].st_value;
        }
}

bool brood__module_find(const void *address, struct module_place *ret_place)
{
    struct dl_find_object object;

    if (_dl_find_object((void *)(uintptr_t)address, &object) != 0)
        return false;
    *ret_place = (struct module_place){.file = object.dlfo_link_map->l_name,
                                       .offset = (size_t)address - (size_t)object.dlfo_link_map->l_addr};
    find_name(object.dlfo_link_map, ret_place);
    return true;
}

#else

bool brood__module_find(const void *address, struct module_place *ret_place)
{
    const struct link_map *map = NULL;
    Dl_info info;

    if (dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || !map)
        return false;
    *ret_place = (struct module_place){.file = map->l_name,
                                       .offset = (size_t)address - (size_t)map->l_addr,
                                       .name = info.dli_sname,
                                       .into = info.dli_sname ? (size_t)address - (size_t)info.dli_saddr : 0};
    return true;
}

#endif

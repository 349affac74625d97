using System.Buffers;
using System.Numerics;
using System.Runtime.InteropServices;
using MessagePack;
using MessagePack.Formatters;

namespace Yarnish.Serialization;

/// <summary>Strings come back equal even when they are not valid UTF-16, see <see cref="StringCodec"/>.</summary>
internal sealed class ExactStringFormatter : IMessagePackFormatter<string?>
{
    public void Serialize(ref MessagePackWriter writer, string? value, MessagePackSerializerOptions options)
    {
        var span = writer.GetSpan(StringCodec.Bound(value));
        writer.Advance(StringCodec.Write(span, value));
    }

    public string? Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options)
    {
        if (reader.NextMessagePackType != MessagePackType.Extension)
        {
            return reader.ReadString();
        }

        var extension = reader.ReadExtensionFormat();
        if (extension.TypeCode != Code.Utf16Extension)
        {
            throw new MessagePackSerializationException($"found extension {extension.TypeCode} where a string should be");
        }

        return new string(MemoryMarshal.Cast<byte, char>(extension.Data.ToArray()));
    }
}

/// <summary>Keeps ticks and <see cref="DateTime.Kind"/> as they are: no time zone comes into it.</summary>
internal sealed class ExactDateTimeFormatter : IMessagePackFormatter<DateTime>
{
    public void Serialize(ref MessagePackWriter writer, DateTime value, MessagePackSerializerOptions options) => writer.WriteInt64(value.Ticks | ((long)value.Kind << 62));

    public DateTime Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options)
    {
        var bits = reader.ReadInt64();
        return new(bits & 0x3fff_ffff_ffff_ffff, (DateTimeKind)((ulong)bits >> 62));
    }
}

/// <summary>Keeps the offset.</summary>
internal sealed class ExactDateTimeOffsetFormatter : IMessagePackFormatter<DateTimeOffset>
{
    public void Serialize(ref MessagePackWriter writer, DateTimeOffset value, MessagePackSerializerOptions options)
    {
        writer.WriteArrayHeader(2);
        writer.WriteInt64(value.Ticks);
        writer.Write(value.TotalOffsetMinutes);
    }

    public DateTimeOffset Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options)
    {
        FieldValue.Expect(ref reader, 2);
        return new(reader.ReadInt64(), TimeSpan.FromMinutes(reader.ReadInt32()));
    }
}

/// <summary>The package's own formatter asks its writer for no room and fails on an empty buffer (MessagePack 2.5.307).</summary>
internal sealed class ExactBigIntegerFormatter : IMessagePackFormatter<BigInteger>
{
    public void Serialize(ref MessagePackWriter writer, BigInteger value, MessagePackSerializerOptions options) => writer.Write(value.ToByteArray());

    public BigInteger Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options) =>
        reader.ReadBytes() is { } bytes ? new(bytes.ToArray()) : throw new MessagePackSerializationException("found nil where a number should be");
}
